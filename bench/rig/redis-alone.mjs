// A Redis with no server before it: the load is the service's own code that writes and reads there.
import { startLoad } from './load.mjs';
import { treeOf } from './machine.mjs';
import { openRedis } from './redis.mjs';
import { askWithShares } from './shares.mjs';

export async function openRedisAlone(store, { rooms }) {
  const redis = await openRedis(store);
  const load = startLoad('bench/load/redis-main.mjs');
  const side = {
    name: 'one Redis',
    redis,
    ask: (phase, options) => askWithShares(load, () => ({ redis: treeOf(redis.pid) }), phase, options),
    async close() {
      await load.close();
      await redis.close();
    },
  };
  try {
    await side.ask('prepare', { port: redis.port, rooms });
    return side;
  } catch (error) {
    await side.close();
    throw error;
  }
}
