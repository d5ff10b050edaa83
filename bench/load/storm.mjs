// All readers leave, messages are posted, and all come back at once from where they were. Every one of them is read in full.
import { setTimeout as pause } from 'node:timers/promises';
import { measured } from './saturate.mjs';

const BETWEEN_MS = 700;
const LIMIT_MS = 120_000;

/** First half: everybody has one last message, leaves, and `behind` more are posted. */
export async function fallBehind(crowd, { behind, connections = 16 }) {
  const room = crowd.rooms[0];
  await crowd.openPosters(connections);
  const base = room.posted.length;
  const answer = await crowd.post(crowd.freePoster(), room);
  await crowd.until(
    () => room.readers.every(({ count }) => count === base + 1),
    10_000,
    () => 'the last message before they leave',
  );
  const resume = await crowd.dialect.cursorAfter(answer, crowd.freePoster().client, room.name, room.readers);
  const readers = room.readers.length;
  crowd.leave();
  await pause(BETWEEN_MS);
  for (let i = 0; i < behind; i++) await crowd.post(crowd.freePoster(), room);
  return { readers, resume };
}

/** Second half. `posted` of the room has exactly what they have missed. */
export async function comeBack(crowd, { readers, resume, mark }) {
  const room = crowd.rooms[0];
  const expected = room.posted.length;
  let level = 0;
  crowd.onMessages = (_reader, before, after) => {
    if (before < expected && after >= expected) level++;
  };
  const figures = await measured(mark, async () => {
    const start = performance.now();
    await crowd.open({ readers, keepAll: true, room: 0, resume });
    await crowd.until(
      () => level === readers,
      LIMIT_MS,
      () => `${readers} readers level (${level} are)`,
    );
    return { levelMs: performance.now() - start };
  });
  await pause(300);
  crowd.onMessages = () => {};
  const unknown = crowd.readers.filter(({ isRecovered }) => isRecovered === false).length;
  if (unknown > 0) throw new Error(`${unknown} readers weren’t recognised`);
  return { ...figures, checked: crowd.check() };
}
