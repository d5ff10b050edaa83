// Open loop: messages at a steady pace in one room, whether or not the last ones have arrived. A message's time runs from the
// moment it was due, so a server that makes posts wait isn't flattered.
import { setTimeout as pause } from 'node:timers/promises';
import { measured } from './saturate.mjs';

export async function offer(crowd, { perSecond, count, drainMs, connections, mark, busy }) {
  const room = crowd.rooms[0];
  await crowd.openPosters(connections);
  const { readers } = room;
  const places = new Map(readers.map((reader, i) => [reader, i]));
  const base = room.posted.length;
  const due = new Float64Array(count);
  const arrivals = new Float32Array(readers.length * count).fill(Number.POSITIVE_INFINITY);
  const start = performance.now();
  let heard = 0;
  crowd.onMessages = (reader, before, after) => {
    if (reader.room !== room) return;
    const now = performance.now() - start;
    const at = places.get(reader) * count - base;
    for (let k = before; k < after; k++) arrivals[at + k] = now;
    heard += after - before;
  };
  const figures = await measured(mark, async () => {
    const began = performance.now() - start;
    for (let k = 0; k < count; k++) {
      due[k] = began + (k * 1000) / perSecond;
      const wait = due[k] - (performance.now() - start);
      if (wait > 0) await pause(wait);
      let poster = crowd.freePoster();
      for (; poster === undefined && !crowd.broken; poster = crowd.freePoster()) await pause(1);
      if (crowd.broken) throw crowd.broken;
      busy?.();
      crowd.post(poster, room);
    }
    return {};
  });
  const end = performance.now() + drainMs;
  while (heard < arrivals.length && performance.now() < end && !crowd.broken) await pause(2);
  if (crowd.broken) throw crowd.broken;
  crowd.onMessages = () => {};
  const isWhole = heard === arrivals.length;
  const checked = crowd.check(!isWhole);
  return { ...figures, isWhole, delivered: heard / arrivals.length, checked, ...delays() };

  /** The k-th message that arrives isn't always the k-th that was due: a reader that kept them knows. */
  function delays() {
    const orders = readers
      .filter(({ kept }) => kept !== undefined)
      .map((reader) => crowd.numbersOf(reader).slice(base));
    const order = orders.sort((a, b) => b.length - a.length)[0];
    const first = room.posted[base];
    const times = new Float32Array(arrivals.length);
    for (let k = 0; k < count; k++) {
      const when = due[order[k] === undefined ? k : order[k] - first];
      for (let i = 0; i < readers.length; i++) times[i * count + k] = arrivals[i * count + k] - when;
    }
    times.sort();
    const at = (share) => times[Math.ceil(times.length * share) - 1];
    return { p50: at(0.5), p99: at(0.99), max: at(1) };
  }
}
