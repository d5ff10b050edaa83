// One room, thousands of readers: all that the server can deliver with 16 or 64 messages undelivered, and how late events come
// when 200 messages a second are offered whatever it does.
import { ms, whole } from '../rig/formats.mjs';

const PER_SECOND = 200;

export const row = 1;
export const title = 'saturated fan-out in one room';

export async function run(measuring) {
  const readers = measuring.pick(5000, 200);
  const timing = { warmMs: measuring.pick(1500, 500), ms: measuring.pick(4000, 1000) };
  const count = measuring.pick(2 * PER_SECOND, 50);
  const drainMs = measuring.pick(10_000, 3000);
  for (const store of measuring.stores) {
    const sides = measuring.among('throughline', 'nchan', 'plain');
    const found = await measuring.inTurn(row, store, sides, { people: readers }, async (side) => {
      await side.ask('open', { readers });
      const narrow = await side.ask('saturate', { ...timing, window: 16 });
      const wide = await side.ask('saturate', { ...timing, window: 64 });
      const offered = await side.ask('offer', { perSecond: PER_SECOND, count, drainMs, connections: 256 });
      return {
        window16: narrow.eventsPerSecond,
        window64: wide.eventsPerSecond,
        perCpuSecond: narrow.eventsPerSecond / narrow.serverCpu,
        p50: offered.p50,
        p99: offered.p99,
        delivered: offered.delivered,
        loadCpu: wide.loadCpu,
        serverCpu: wide.serverCpu,
        checked: wide.checked,
      };
    });
    const of = (figure) =>
      Object.fromEntries(Object.entries(found).map(([name, all]) => [name, all[figure]]));
    const bounded = (figure) =>
      Object.fromEntries(
        Object.entries(of(figure)).map(([name, value]) => [name, Number.isFinite(value) ? value : drainMs]),
      );
    const unbounded = (figure) =>
      Object.fromEntries(Object.entries(of(figure)).map(([name, value]) => [name, !Number.isFinite(value)]));
    const common = { row, store };
    measuring.compare({
      ...common,
      label: `fan-out to ${whole(readers)}, window 16: events/s`,
      format: whole,
      better: 'more',
      values: of('window16'),
      targets: { nchan: { must: 5, aim: 10 }, plain: { must: 2 } },
    });
    measuring.compare({
      ...common,
      label: `fan-out to ${whole(readers)}, window 64: events/s`,
      format: whole,
      better: 'more',
      values: of('window64'),
      targets: { nchan: { must: 10, aim: 30 } },
    });
    measuring.compare({
      ...common,
      label: 'window 16: events for each CPU second of server and Redis',
      format: whole,
      better: 'more',
      values: of('perCpuSecond'),
    });
    measuring.compare({
      ...common,
      label: `${PER_SECOND} messages/s offered to ${whole(readers)}: p50`,
      format: ms,
      better: 'less',
      values: bounded('p50'),
      least: unbounded('p50'),
    });
    measuring.compare({
      ...common,
      label: `${PER_SECOND} messages/s offered to ${whole(readers)}: p99`,
      format: ms,
      better: 'less',
      values: bounded('p99'),
      least: unbounded('p99'),
      targets: { nchan: { must: 0.3, aim: 0.1 } },
    });
  }
}
