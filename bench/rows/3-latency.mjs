// A calm room: 10 messages a second to 1,000 readers. Both sides run all the while and are measured in pairs, each going first in turn.
import { setTimeout as pause } from 'node:timers/promises';
import { ms, whole } from '../rig/formats.mjs';
import { median } from '../rig/measuring.mjs';
import { NAMES, YARDSTICKS } from '../rig/side.mjs';

const PER_SECOND = 10;
/** Whoever comes is told filler and a heartbeat within half a second, once in a stream's life: that room isn't calm yet. */
const SETTLE_MS = 1000;

export const row = 3;
export const title = 'latency in a calm room';

export async function run(measuring) {
  const readers = measuring.pick(1000, 200);
  const pairs = measuring.pick(5, 2);
  const count = measuring.pick(50, 10);
  for (const store of measuring.stores) {
    const sides = [];
    try {
      for (const name of measuring.among('throughline', 'nchan', 'plain', ...YARDSTICKS[store]))
        sides.push(await measuring.open(row, name, { store, people: readers }));
      const p50 = Object.fromEntries(sides.map(({ name }) => [name, []]));
      const p99 = Object.fromEntries(sides.map(({ name }) => [name, []]));
      for (let pair = 0; pair <= pairs; pair++) {
        for (const side of pair % 2 === 0 ? sides : [...sides].reverse()) {
          await side.ask('open', { readers });
          await pause(SETTLE_MS);
          const found = await side.ask('offer', {
            perSecond: PER_SECOND,
            count,
            drainMs: 5000,
            connections: 16,
          });
          await side.ask('leave');
          // The first turn of each only warms it up.
          if (pair === 0) continue;
          if (!found.isWhole) throw new Error(`${NAMES[side.name]}: not all was delivered`);
          p50[side.name].push(found.p50);
          p99[side.name].push(found.p99);
          measuring.say(
            `${NAMES[side.name]}: p50 ${ms(found.p50)}, p99 ${ms(found.p99)}, longest ${ms(found.max)}`,
          );
        }
      }
      for (const [which, all] of [
        ['p50', p50],
        ['p99', p99],
      ]) {
        measuring.compare({
          row,
          store,
          label: `${PER_SECOND} messages/s to ${whole(readers)} readers: ${which} (median of ${pairs})`,
          format: ms,
          better: 'less',
          values: Object.fromEntries(Object.entries(all).map(([name, values]) => [name, median(values)])),
          targets: { nchan: { must: 1.1, aim: 1 }, ...(which === 'p99' && { plain: { must: 1 } }) },
        });
      }
    } finally {
      for (const side of sides) await side.close();
    }
  }
}
