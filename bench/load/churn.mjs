// Comings and goings: readers leave, half of them abruptly, and others take their place, while a message is posted now and then.
import { setTimeout as pause } from 'node:timers/promises';

const TICK_MS = 20;
/** A generator that was held up doesn't make up for it in a burst, which would be what is measured. */
const MOST_A_TICK = 8;

export async function churn(crowd, { ms, perSecond, messagesPerSecond }) {
  await crowd.openPosters(4);
  const start = performance.now();
  const room = crowd.rooms[0];
  let gone = 0;
  let posted = 0;
  let refused = 0;
  const onRefused = () => refused++;
  while (performance.now() - start < ms) {
    const seconds = (performance.now() - start) / 1000;
    for (let i = 0; i < MOST_A_TICK && gone < seconds * perSecond; i++) {
      const index = gone % crowd.readers.length;
      crowd.readers[index].close(gone % 2 === 0);
      crowd.admit(index, room);
      gone++;
    }
    while (posted < seconds * messagesPerSecond) {
      posted++;
      const poster = crowd.freePoster();
      if (poster) crowd.post(poster, room, onRefused);
    }
    if (crowd.broken) throw crowd.broken;
    await pause(TICK_MS);
  }
  return { gone, posted, refused };
}
