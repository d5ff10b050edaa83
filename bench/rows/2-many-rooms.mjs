// A thousand rooms with five readers each, all of them busy.
import { whole } from '../rig/formats.mjs';
import { YARDSTICKS } from '../rig/side.mjs';

const READERS_EACH = 5;
const WINDOW = 256;

export const row = 2;
export const title = 'many rooms, saturated';

export async function run(measuring) {
  const rooms = measuring.pick(1000, 40);
  const readers = rooms * READERS_EACH;
  const timing = { warmMs: measuring.pick(2500, 500), ms: measuring.pick(5000, 1000) };
  for (const store of measuring.stores) {
    const sides = measuring.among('throughline', 'nchan', 'socket.io', ...YARDSTICKS[store]);
    const found = await measuring.inTurn(row, store, sides, { people: readers, rooms }, async (side) => {
      await side.ask('open', { readers });
      const { eventsPerSecond, loadCpu, serverCpu, checked } = await side.ask('saturate', {
        ...timing,
        window: WINDOW,
      });
      return { eventsPerSecond, loadCpu, serverCpu, checked };
    });
    measuring.compare({
      row,
      store,
      label: `${whole(rooms)} rooms × ${READERS_EACH} readers: events/s`,
      format: whole,
      better: 'more',
      values: Object.fromEntries(Object.entries(found).map(([name, all]) => [name, all.eventsPerSecond])),
      targets: { nchan: { must: 0.7, aim: 1 }, 'socket.io': { must: 1.1 } },
    });
  }
}
