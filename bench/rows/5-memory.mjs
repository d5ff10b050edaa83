// What a reader that hears nothing costs, before and after there was traffic; and whether comings and goings leave something behind.
import { setTimeout as pause } from 'node:timers/promises';
import { kb, whole } from '../rig/formats.mjs';
import { fileLimit } from '../rig/machine.mjs';

const TRAFFIC = { perSecond: 10, drainMs: 20_000, connections: 16 };
/** What a burst of requests left behind is given back by V8 when it has been quiet for a while: after 8 s at the earliest, on a busy machine after 50. */
const SETTLE_MS = 75_000;
const SAMPLE_MS = 1000;
/** What the last quarter may be above the second one. */
const FLAT = 1.05;
/** Resident memory goes up and down by half within minutes, so that only so many seconds tell whether it grows; in less the collected heap does. */
const LONG_S = 3600;
/** So long before a quarter's end its heap is collected. */
const BEFORE_END_S = 0.5;
/** Least and greatest without the few that are chance: what is left after a collection, and what V8 lets pile up before one. */
const LEAST = 0.05;
const GREATEST = 0.95;
const CHURN = { perSecond: 200, messagesPerSecond: 5 };
/** More than WINDOW_ENTRIES, so that the window is full before it is measured. */
const FILL = { count: 10_500, perSecond: 500, drainMs: 20_000, connections: 16 };

export const row = 5;
export const title = 'memory';

export async function run(measuring) {
  // Memory of the server alone: what Redis keeps its data in makes no difference, so one setting is enough.
  const store = measuring.stores[0];
  await idle(measuring, store);
  if (measuring.sides.includes('throughline')) await soak(measuring, store);
}

async function idle(measuring, store) {
  const readers = Math.min(measuring.pick(10_000, 500), fileLimit() - 500);
  const sides = measuring.among('throughline', 'nchan');
  const settle = () => pause(measuring.pick(SETTLE_MS, 1000));
  const found = await measuring.inTurn(row, store, sides, { people: readers }, async (side) => {
    // Log-ins leave garbage behind, in which the readers would find room: so another process serves them.
    await side.restart();
    await side.ask('open', { readers: Math.ceil(readers / 20) });
    await side.ask('leave');
    await settle();
    const empty = side.residentKb();
    const redisEmpty = side.redisKb();
    await side.ask('open', { readers });
    await settle();
    const before = side.residentKb();
    await side.ask('offer', { ...TRAFFIC, count: measuring.pick(100, 20) });
    await settle();
    const after = side.residentKb();
    const redis = side.redisKb() - redisEmpty;
    await side.ask('leave');
    await settle();
    // Whichever of the two V8 has given more back by.
    const least = Math.min(empty, side.residentKb());
    return {
      before: (before - least) / readers,
      after: (after - least) / readers,
      emptyKb: least,
      redis: redis / readers,
    };
  });
  const of = (figure) => Object.fromEntries(Object.entries(found).map(([name, all]) => [name, all[figure]]));
  const common = { row, store, format: kb, better: 'less' };
  if (found.throughline !== undefined) {
    const { before, redis } = found.throughline;
    measuring.state({
      ...common,
      label: `a reader of ${whole(readers)} idle ones, before traffic`,
      ours: before,
      limit: '≤ 12 KB',
      isMet: before <= 12,
    });
    measuring.state({ ...common, label: 'meanwhile, growth of Redis for each reader', ours: redis });
  }
  measuring.compare({
    ...common,
    label: `a reader of ${whole(readers)} idle ones, before traffic`,
    values: of('before'),
    targets: { nchan: { aim: 1 } },
  });
  measuring.compare({
    ...common,
    label: 'the same, after traffic',
    values: of('after'),
    targets: { nchan: { must: 1, aim: 0.7 } },
  });
}

async function soak(measuring, store) {
  const readers = measuring.pick(2000, 100);
  const seconds = measuring.soakSeconds;
  const points = [];
  const heaps = [];
  let gone = 0;
  let refused = 0;
  const isLong = seconds >= LONG_S;
  await measuring.one(row, 'throughline', { store, people: readers, isInspected: !isLong }, async (side) => {
    await side.ask('open', { readers });
    const filled = await side.ask('offer', { ...FILL, count: measuring.pick(FILL.count, 100) });
    if (!filled.isWhole) throw new Error('the window could not be filled');
    // The first time opens the inspector, whose port a client could take meanwhile.
    if (!isLong) await side.collectedKb();
    const start = performance.now();
    const elapsed = () => (performance.now() - start) / 1000;
    const timer = setInterval(() => points.push([elapsed(), side.residentKb() / 1024]), SAMPLE_MS);
    const failure = new AbortController();
    const collectInQuarters = async () => {
      while (heaps.length < 4) {
        const at = ((heaps.length + 1) * seconds) / 4 - BEFORE_END_S;
        await pause(Math.max(0, at - elapsed()) * 1000, undefined, { signal: failure.signal });
        heaps.push((await side.collectedKb()) / 1024);
      }
    };
    try {
      [{ gone, refused }] = await Promise.all([
        side.ask('churn', { ms: seconds * 1000, ...CHURN }),
        ...(isLong ? [] : [collectInQuarters()]),
      ]);
    } finally {
      failure.abort();
      clearInterval(timer);
    }
    return { gone, refused, residentMb: points.at(-1)[1] };
  });
  const quarters = [0, 1, 2, 3].map((k) => {
    const from = Math.floor((points.length * k) / 4);
    const to = Math.ceil((points.length * (k + 1)) / 4);
    return points
      .slice(from, to)
      .map(([, mb]) => mb)
      .sort((a, b) => a - b);
  });
  const churned = `${whole(seconds)} s of comings and goings (${whole(gone)} of them, ${whole(readers)} readers at a time, ${refused} posts refused)`;
  const flatness = (what, each, limit) => {
    const ratio = each[3] / each[1];
    measuring.state({
      row,
      store,
      label: `${churned}: ${what} of the last quarter against that of the second`,
      format: () => `${ratio.toFixed(3)} × (quarters: ${each.map((mb) => Math.round(mb)).join(', ')} MB)`,
      ours: ratio,
      ...(limit === undefined ? {} : { limit: `≤ ${limit} ×`, isMet: ratio <= limit }),
    });
  };
  const resident = (share) => quarters.map((sorted) => sorted[Math.floor((sorted.length - 1) * share)]);
  const limit = isLong ? FLAT : undefined;
  if (!isLong) flatness('collected heap at the end', heaps, FLAT);
  flatness('resident memory, least (5th percentile)', resident(LEAST), limit);
  flatness('resident memory, greatest (95th percentile)', resident(GREATEST), limit);
  flatness('resident memory, median', resident(0.5));
  measuring.plots.push({
    title: 'Comings and goings',
    xLabel: 'seconds',
    yLabel: 'resident MB',
    lines: [{ name: 'Throughline', points }],
  });
}
