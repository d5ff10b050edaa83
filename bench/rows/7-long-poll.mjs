// The saturated room again, with readers that poll. Measured once it is warm: at first each poll is answered one or two messages,
// after some seconds all that are under way.
import { whole } from '../rig/formats.mjs';
import { YARDSTICKS } from '../rig/side.mjs';

const WINDOW = 16;

export const row = 7;
export const title = 'long-poll fan-out';

export async function run(measuring) {
  const readers = measuring.pick(1000, 100);
  const timing = { warmMs: measuring.pick(5000, 500), ms: measuring.pick(5000, 1000), window: WINDOW };
  for (const store of measuring.stores) {
    const sides = measuring.among('throughline', 'socket.io', 'nchan', ...YARDSTICKS[store]);
    const options = { people: readers, isPolling: true };
    const found = await measuring.inTurn(row, store, sides, options, async (side) => {
      await side.ask('open', { readers, isPolling: true });
      const { eventsPerSecond, loadCpu, serverCpu, checked } = await side.ask('saturate', timing);
      return { eventsPerSecond, loadCpu, serverCpu, checked };
    });
    measuring.compare({
      row,
      store,
      label: `long-poll, ${whole(readers)} readers, window ${WINDOW}: events/s`,
      format: whole,
      better: 'more',
      values: Object.fromEntries(Object.entries(found).map(([name, all]) => [name, all.eventsPerSecond])),
      targets: { 'socket.io': { must: 0.4, aim: 0.8 }, nchan: { must: 1 } },
    });
  }
}
