// Posts, each in Redis before it is answered, by people with sessions of their own; nobody reads.
import { whole } from '../rig/formats.mjs';
import { YARDSTICKS } from '../rig/side.mjs';

const CONNECTIONS = 256;

export const row = 6;
export const title = 'posts accepted';

export async function run(measuring) {
  const people = measuring.pick(2000, 500);
  const rooms = measuring.pick(100, 10);
  const timing = {
    warmMs: measuring.pick(2500, 500),
    ms: measuring.pick(5000, 1000),
    connections: CONNECTIONS,
  };
  for (const store of measuring.stores) {
    const sides = measuring.among('throughline', 'socket.io', 'nchan', 'plain', ...YARDSTICKS[store]);
    const found = await measuring.inTurn(row, store, sides, { people, rooms }, async (side) => {
      const { postsPerSecond, loadCpu, serverCpu } = await side.ask('postOnly', timing);
      return { postsPerSecond, loadCpu, serverCpu };
    });
    measuring.compare({
      row,
      store,
      label: `posts accepted, ${CONNECTIONS} under way: posts/s`,
      format: whole,
      better: 'more',
      values: Object.fromEntries(Object.entries(found).map(([name, all]) => [name, all.postsPerSecond])),
      targets: { 'socket.io': { must: 0.9, aim: 1 } },
    });
  }
}
