// How cost grows with readers, rooms, sizes of messages and lengths of histories; Throughline alone.
import { setTimeout as pause } from 'node:timers/promises';
import { whole } from '../rig/formats.mjs';
import { fileLimit } from '../rig/machine.mjs';

/** Connections that a process needs besides its readers'. */
const OTHER_FILES = 700;
const WINDOW = 64;
const STORM_READERS = 500;
/** Fewer would post faster than the pace that is allowed each. */
const POSTERS = 4000;

export const row = 8;
export const title = 'how cost grows';

export async function run(measuring) {
  if (!measuring.sides.includes('throughline')) return;
  const store = measuring.stores[0];
  const timing = { warmMs: measuring.pick(1000, 300), ms: measuring.pick(2000, 500) };
  const calm = { perSecond: 10, count: measuring.pick(20, 5), drainMs: 20_000, connections: 16 };
  const context = { measuring, store, timing, calm };
  await overReaders(context);
  await overRooms(context);
  await besideQuietRooms(context);
  await overSizes(context);
  await overHistories(context);
}

/** Measures Throughline at each of some values. */
async function along({ measuring, store }, values, optionsOf, measure) {
  const found = [];
  for (const value of values) {
    measuring.say(`at ${whole(value)}:`);
    found.push(
      await measuring.one(row, 'throughline', { store, ...optionsOf(value) }, (side) => measure(side, value)),
    );
  }
  return (figure) => values.map((value, i) => [value, found[i][figure]]);
}

function plot({ measuring }, title, xLabel, yLabel, points) {
  measuring.plots.push({ title, xLabel, yLabel, isLog: true, lines: [{ name: 'Throughline', points }] });
}

/** A figure at the end of a curve against the one at its beginning (or another point), with a limit. */
function end({ measuring, store }, label, points, { from = 0, least, most }) {
  const ratio = points.at(-1)[1] / points[from][1];
  measuring.state({
    row,
    store,
    label: `${label}, at ${whole(points.at(-1)[0])} against ${whole(points[from][0])}`,
    format: (value) => `${value.toFixed(2)} ×`,
    ours: ratio,
    limit: least === undefined ? `≤ ${most} ×` : `≥ ${least} ×`,
    isMet: least === undefined ? ratio <= most : ratio >= least,
  });
}

async function overReaders(context) {
  const { measuring, timing, calm } = context;
  const most = Math.min(20_000, fileLimit() - OTHER_FILES);
  if (most < 20_000)
    measuring.note(
      `Row 8 goes to ${whole(most)} readers instead of 20,000: a process may have ${whole(fileLimit())} files open here.`,
    );
  const of = await along(
    context,
    measuring.pick([100, 1000, 5000, most], [50, 200]),
    (readers) => ({ people: Math.max(readers, POSTERS) }),
    async (side, readers) => {
      await side.restart();
      await pause(500);
      const empty = side.residentKb();
      await side.ask('open', { readers });
      await pause(1000);
      const memoryMb = (side.residentKb() - empty) / 1024;
      const { p50, p99 } = await side.ask('offer', calm);
      const { eventsPerSecond, loadCpu } = await side.ask('saturate', { ...timing, window: WINDOW });
      return { eventsPerSecond, p50, p99, memoryMb, loadCpu };
    },
  );
  plot(context, 'One room, saturated', 'readers', 'events/s', of('eventsPerSecond'));
  plot(context, 'One room, 10 messages/s', 'readers', 'p99, ms', of('p99'));
  plot(context, 'Idle readers', 'readers', 'MB more', of('memoryMb'));
  // What few readers take is mostly what the process takes anyway.
  const from = measuring.pick(2, 0);
  end(context, 'events/s over readers', of('eventsPerSecond'), { from: measuring.pick(1, 0), least: 0.5 });
  // A message's time grows with its readers, since they are told one after the other; not faster than they do.
  const each = of('p99').map(([readers, ms]) => [readers, ms / readers]);
  end(context, 'p99 for each reader', each, { from, most: 1.2 });
  const grown = of('memoryMb').map(([readers, mb]) => [readers, mb / readers]);
  end(context, 'memory of a reader', grown, { from, most: 1.2 });
}

async function overRooms(context) {
  const { timing } = context;
  const of = await along(
    context,
    context.measuring.pick([1, 10, 100, 1000, 10_000], [1, 20]),
    (rooms) => ({ rooms, people: POSTERS }),
    async (side, rooms) => {
      const start = side.residentKb();
      await side.ask('open', { readers: rooms });
      const { eventsPerSecond, loadCpu } = await side.ask('saturate', { ...timing, window: 256 });
      return { eventsPerSecond, loadCpu, memoryMb: (side.residentKb() - start) / 1024 };
    },
  );
  plot(context, 'One reader a room, all busy', 'rooms', 'events/s', of('eventsPerSecond'));
  plot(context, 'One reader a room, all busy', 'rooms', 'MB more', of('memoryMb'));
  end(context, 'events/s over rooms', of('eventsPerSecond'), { least: 0.5 });
  const each = of('memoryMb').map(([rooms, mb]) => [rooms, mb / rooms]);
  end(context, 'memory of a room with a reader', each, { from: context.measuring.pick(3, 0), most: 1.2 });
}

async function besideQuietRooms(context) {
  const { measuring, timing, calm } = context;
  const readers = measuring.pick(1000, 100);
  const of = await along(
    context,
    measuring.pick([1, 100, 1000, 10_000], [1, 50]),
    (rooms) => ({ rooms, people: POSTERS }),
    async (side, rooms) => {
      if (rooms > 1) await side.ask('open', { readers: rooms - 1, isQuiet: true });
      await side.ask('open', { readers, room: 0 });
      const { p50, p99 } = await side.ask('offer', calm);
      const { eventsPerSecond, loadCpu } = await side.ask('saturate', { ...timing, window: WINDOW, only: 0 });
      return { eventsPerSecond, p50, p99, loadCpu };
    },
  );
  plot(
    context,
    `${whole(readers)} readers of a busy room, saturated`,
    'rooms (all others quiet)',
    'events/s',
    of('eventsPerSecond'),
  );
  plot(context, 'The busy room, 10 messages/s', 'rooms (all others quiet)', 'p99, ms', of('p99'));
  end(context, 'events/s of a busy room over quiet ones beside it', of('eventsPerSecond'), { least: 0.9 });
  end(context, 'p50 of a busy room over quiet ones beside it', of('p50'), { most: 1.5 });
}

async function overSizes(context) {
  const { measuring, timing, calm } = context;
  const readers = measuring.pick(1000, 100);
  const of = await along(
    context,
    measuring.pick([50, 200, 1000, 4000], [50, 4000]),
    (textBytes) => ({ textBytes, people: POSTERS }),
    async (side, textBytes) => {
      await side.ask('open', { readers });
      const before = side.residentKb();
      const { p99 } = await side.ask('offer', calm);
      const { eventsPerSecond, loadCpu } = await side.ask('saturate', { ...timing, window: WINDOW });
      const textMbPerSecond = (eventsPerSecond * textBytes) / 1e6;
      return {
        eventsPerSecond,
        p99,
        textMbPerSecond,
        memoryMb: (side.residentKb() - before) / 1024,
        loadCpu,
      };
    },
  );
  plot(context, `${whole(readers)} readers, saturated`, 'bytes of text', 'events/s', of('eventsPerSecond'));
  plot(context, `${whole(readers)} readers, 10 messages/s`, 'bytes of text', 'p99, ms', of('p99'));
  plot(context, 'The same two, one after the other', 'bytes of text', 'MB more', of('memoryMb'));
  end(context, 'text bytes/s over sizes', of('textMbPerSecond'), { least: 1 });
}

async function overHistories(context) {
  const { measuring, calm } = context;
  const readers = measuring.pick(STORM_READERS, 50);
  const lengths = measuring.pick([100, 1000, 10_000], [10, 500]);
  const of = await along(
    context,
    lengths,
    () => ({ people: POSTERS, rooms: 2 }),
    async (side, messages) => {
      // The rest elsewhere, so that all are equally warm.
      await side.ask('postMany', { count: lengths.at(-1) - messages, room: 1 });
      await side.ask('postMany', { count: messages });
      await side.ask('open', { readers, room: 0 });
      const { levelMs, logReads } = await side.redis.countReads(async () =>
        side.ask('comeBack', await side.ask('fallBehind', { behind: 100 })),
      );
      const { postsPerSecond } = await side.ask('postOnly', { warmMs: 500, ms: 1000, connections: 64 });
      const { pagesPerSecond } = await side.ask('readHistory', { warmMs: 500, ms: 1000, connections: 16 });
      const { p99 } = await side.ask('offer', calm);
      return { levelMs, logReads, postsPerSecond, pagesPerSecond, p99, memoryMb: side.residentKb() / 1024 };
    },
  );
  plot(
    context,
    `${whole(readers)} resume, 100 messages each`,
    'messages in the room',
    'level after, ms',
    of('levelMs'),
  );
  plot(context, 'Posts into the room', 'messages in the room', 'posts/s', of('postsPerSecond'));
  plot(context, 'Its oldest page', 'messages in the room', 'pages/s', of('pagesPerSecond'));
  plot(
    context,
    `${whole(readers)} readers of it, 10 messages/s`,
    'messages in the room',
    'p99, ms',
    of('p99'),
  );
  plot(context, 'The service after all this', 'messages in the room', 'resident MB', of('memoryMb'));
  end(context, 'memory of the service over histories', of('memoryMb'), { most: 1.5 });
  end(context, 'time until all are level, over histories', of('levelMs'), { most: 1.5 });
  end(context, 'posts/s over histories', of('postsPerSecond'), { least: 0.7 });
  end(context, 'pages/s of the oldest messages, over histories', of('pagesPerSecond'), { least: 0.7 });
}
