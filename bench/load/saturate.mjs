// Closed loop: a further message is posted whenever fewer than `window` haven't reached all readers of their room.
import { setTimeout as pause } from 'node:timers/promises';

export async function saturate(crowd, { warmMs, ms, window, mark, only, reachMs = 30_000 }) {
  const rooms = only === undefined ? crowd.rooms : [crowd.rooms[only]];
  for (const room of rooms) {
    room.base = room.posted.length;
    room.reached = [];
    room.done = 0;
  }
  await crowd.openPosters(window * 2);
  let posted = 0;
  let done = 0;
  let isOver = false;
  let turn = 0;
  const pump = () => {
    while (!isOver && !crowd.broken && posted - done < window) {
      const poster = crowd.freePoster();
      if (poster === undefined) return;
      const room = rooms[turn++ % rooms.length];
      room.reached.push(0);
      posted++;
      crowd.post(poster, room).then(pump);
    }
  };
  crowd.onMessages = ({ room }, before, after) => {
    const { reached, base } = room;
    for (let k = before - base; k < after - base; k++) reached[k]++;
    const size = room.readers.length;
    if (reached[room.done] < size) return;
    while (reached[room.done] === size) {
      room.done++;
      done++;
    }
    pump();
  };
  pump();
  await pause(warmMs);
  const figures = await measured(mark, async () => {
    const before = crowd.events;
    const start = performance.now();
    await pause(ms);
    return { eventsPerSecond: (crowd.events - before) / ((performance.now() - start) / 1000) };
  });
  isOver = true;
  await crowd.until(
    () => done === posted && crowd.posters.every(({ isFree }) => isFree),
    reachMs,
    () => `all delivered (${posted - done} messages aren’t)`,
  );
  crowd.onMessages = () => {};
  return { ...figures, checked: crowd.check() };
}

/** Runs a phase between two marks, and adds the share of a core that the load generator took meanwhile. */
export async function measured(mark, phase) {
  mark('start');
  const cpu = process.cpuUsage();
  const start = performance.now();
  const figures = await phase();
  const { user, system } = process.cpuUsage(cpu);
  const ms = performance.now() - start;
  mark('end');
  return { loadCpu: (user + system) / 1000 / ms, measuredMs: ms, ...figures };
}
