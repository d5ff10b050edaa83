// One side, running: a server with a Redis of its own, and the load generator that has it as its target.
import { startBareHttp } from '../sides/bare-http.mjs';
import { startNchan } from '../sides/nchan.mjs';
import { startPlainExpress } from '../sides/plain-express.mjs';
import { startSocketIo } from '../sides/socket-io.mjs';
import { startThroughline } from '../sides/throughline.mjs';
import { collectedKb } from './heap.mjs';
import { startLoad } from './load.mjs';
import { proportionalKb, residentKb, treeOf } from './machine.mjs';
import { freePort, stop } from './processes.mjs';
import { openRedis } from './redis.mjs';
import { askWithShares } from './shares.mjs';

const START = {
  throughline: startThroughline,
  nchan: startNchan,
  'socket.io': startSocketIo,
  plain: startPlainExpress,
  'bare-express': (options) => startBareHttp(options, { STEP: 'append', EXPRESS: '1' }),
  'bare-sessions': (options) => startBareHttp(options, { STEP: 'append', EXPRESS: '1', SESSIONS: '1' }),
  'bare-append': (options) => startBareHttp(options, { STEP: 'append' }),
  bare: (options) => startBareHttp(options, { STEP: 'xadd' }),
};

/** How each side is called in the tables. */
export const NAMES = {
  throughline: 'Throughline',
  nchan: 'nginx + nchan, Redis',
  'socket.io': 'Socket.IO, Redis Streams',
  plain: 'plain Express, Redis',
  'bare-express': 'bare Express, our append',
  'bare-sessions': 'bare Express, sessions, proof',
  'bare-append': 'bare node:http, our append',
  bare: 'bare node:http, one XADD',
};

/** What they reach is Node's own limit, which Redis' settings don't move. */
export const YARDSTICKS = { memory: ['bare-express', 'bare-append', 'bare'], aof: [] };

/** Opens a side, logs people in and makes rooms; then phases of the load can be asked for. */
export async function openSide(
  name,
  { store, people = 1, rooms = 1, isPolling, textBytes, hasRecovery, workers, metricsPort, isInspected },
) {
  const redis = await openRedis(store);
  const port = await freePort();
  const inspectPort = isInspected ? await freePort() : undefined;
  const begin = () =>
    START[name]({ port, redisPort: redis.port, hasRecovery, workers, metricsPort, inspectPort });
  let child = await begin();
  const load = startLoad();
  const redisPids = () => treeOf(redis.pid);
  const pids = () => [...treeOf(child.pid), ...redisPids()];
  const side = {
    name,
    redis,
    /** Runs a phase; where it measures, adds the shares of a core that the server with its Redis, Redis alone, and others took. */
    ask: (phase, options) =>
      askWithShares(load, () => ({ server: pids(), redis: redisPids() }), phase, options),
    /** Logs people in, and makes rooms. */
    prepare: (more) =>
      side.ask('prepare', { side: name, port, people, rooms, isPolling, textBytes, ...more }),
    /** A new process over the same Redis and on the same port. */
    async restart() {
      await stop(child);
      child = await begin();
    },
    /** Of the server and its workers, without Redis. */
    residentKb: () => residentKb(treeOf(child.pid)),
    /** Of one that `isInspected`: heap and what hangs on it, once V8 has collected. */
    collectedKb: () => collectedKb(child.pid, inspectPort),
    /** Resident memory, with what several of them share counted once. */
    proportionalKb: () => proportionalKb(treeOf(child.pid)),
    redisKb: () => residentKb([redis.pid]),
    async close() {
      await load.close();
      await stop(child);
      await redis.close();
    },
  };
  try {
    await side.prepare();
    return side;
  } catch (error) {
    await side.close();
    throw error;
  }
}
