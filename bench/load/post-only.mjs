// As many posts as are accepted, over `connections` with one under way each. Nobody reads.
import { setTimeout as pause } from 'node:timers/promises';
import { measured } from './saturate.mjs';

export async function postOnly(crowd, { warmMs, ms, connections, mark }) {
  await crowd.openPosters(connections);
  let accepted = 0;
  let isOver = false;
  let turn = 0;
  const goOn = async (poster) => {
    while (!isOver && !crowd.broken) {
      await crowd.post(poster, crowd.rooms[turn++ % crowd.rooms.length]);
      accepted++;
    }
  };
  const all = crowd.posters.map(goOn);
  await pause(warmMs);
  const figures = await measured(mark, async () => {
    const before = accepted;
    const start = performance.now();
    await pause(ms);
    return { postsPerSecond: (accepted - before) / ((performance.now() - start) / 1000) };
  });
  isOver = true;
  await Promise.race([Promise.all(all), pause(10_000)]);
  if (crowd.broken) throw crowd.broken;
  return { ...figures, accepted };
}
