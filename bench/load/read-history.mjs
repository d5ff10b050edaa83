// The oldest page of a room's history, as often as it is answered, over `connections` with one request under way each.
import { setTimeout as pause } from 'node:timers/promises';
import { measured } from './saturate.mjs';

export async function readHistory(crowd, { warmMs, ms, connections, mark }) {
  const room = crowd.rooms[0];
  await crowd.openPosters(connections);
  let pages = 0;
  let isOver = false;
  const all = crowd.posters.map(async ({ client }) => {
    while (!isOver && !crowd.broken) {
      await crowd.dialect.oldestPage(client, room.name);
      pages++;
    }
  });
  await pause(warmMs);
  const figures = await measured(mark, async () => {
    const before = pages;
    const start = performance.now();
    await pause(ms);
    return { pagesPerSecond: (pages - before) / ((performance.now() - start) / 1000) };
  });
  isOver = true;
  await Promise.all(all);
  return figures;
}
