// One side, running: a server with a Redis of its own, and the load generator that has it as its target.
import { startNchan } from '../sides/nchan.mjs';
import { startPlainExpress } from '../sides/plain-express.mjs';
import { startSocketIo } from '../sides/socket-io.mjs';
import { startThroughline } from '../sides/throughline.mjs';
import { startLoad } from './load.mjs';
import { cpuMs, machineCpuMs, residentKb, treeOf } from './machine.mjs';
import { freePort, stop } from './processes.mjs';
import { openRedis } from './redis.mjs';

const START = {
  throughline: startThroughline,
  nchan: startNchan,
  'socket.io': startSocketIo,
  plain: startPlainExpress,
};

/** How each side is called in the tables. */
export const NAMES = {
  throughline: 'Throughline',
  nchan: 'nginx + nchan, Redis',
  'socket.io': 'Socket.IO, Redis Streams',
  plain: 'plain Express, Redis',
};

/** Opens a side, logs people in and makes rooms; then phases of the load can be asked for. */
export async function openSide(name, { store, people = 1, rooms = 1, isPolling, textBytes, hasRecovery }) {
  const redis = await openRedis(store);
  const port = await freePort();
  const begin = () => START[name]({ port, redisPort: redis.port, hasRecovery });
  let child = await begin();
  const load = startLoad();
  const pids = () => [...treeOf(child.pid), redis.pid];
  const side = {
    name,
    redis,
    /** Runs a phase; where it measures, adds the shares of a core that the server with its Redis, and others, took. */
    async ask(phase, options = {}) {
      const at = {};
      const figures = await load.ask(phase, options, (mark) => {
        const ours = pids();
        at[mark] = {
          server: cpuMs(ours),
          all: cpuMs([...ours, load.pid, process.pid]),
          machine: machineCpuMs(),
        };
      });
      if (at.end === undefined) return figures;
      const share = (what) => (at.end[what] - at.start[what]) / figures.measuredMs;
      return { ...figures, serverCpu: share('server'), others: Math.max(0, share('machine') - share('all')) };
    },
    /** A new process over the same Redis and on the same port. */
    async restart() {
      await stop(child);
      child = await begin();
    },
    /** Of the server and its workers, without Redis. */
    residentKb: () => residentKb(treeOf(child.pid)),
    redisKb: () => residentKb([redis.pid]),
    async close() {
      await load.close();
      await stop(child);
      await redis.close();
    },
  };
  try {
    await side.ask('prepare', { side: name, port, people, rooms, isPolling, textBytes });
    return side;
  } catch (error) {
    await side.close();
    throw error;
  }
}
