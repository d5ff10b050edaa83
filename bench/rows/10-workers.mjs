// The service with several workers. They share the servers' one core, so that what counts is work for each CPU second, and what
// each worker costs that has nothing to do.
import { setTimeout as pause } from 'node:timers/promises';
import { whole } from '../rig/formats.mjs';

const CONNECTIONS = 256;
const WINDOW = 16;
/** Each worker's code is compiled anew, so each has to do so much before it is measured. */
const WARM_POSTS = 4000;
const WARM_MS = 1500;
const SETTLE_MS = 1500;

export const row = 10;
export const title = 'what workers cost';

const megabytes = (kilobytes) => `${(kilobytes / 1024).toFixed(1)} MB`;
const microseconds = (value) => `${value.toFixed(1)} µs`;
const tenths = (value) => value.toFixed(1);

export async function run(measuring) {
  if (!measuring.sides.includes('throughline')) return;
  const store = measuring.stores[0];
  const context = { measuring, store, state: stateIn(measuring, store) };
  await idle(context, [1, 2, 3]);
  await busy(context, [1, 2]);
}

function stateIn(measuring, store) {
  return (label, format, ours) => measuring.state({ row, store, label, format, ours });
}

async function idle({ measuring, store, state }, counts) {
  const found = [];
  for (const workers of counts) {
    measuring.say(`${workers}, idle:`);
    found.push(
      await measuring.one(row, 'throughline', { store, workers }, async (side) => {
        await pause(SETTLE_MS);
        return {
          residentKb: side.residentKb(),
          proportionalKb: side.proportionalKb(),
          commands: await commandsOf(side.redis.client, measuring.pick(3000, 1000)),
        };
      }),
    );
  }
  counts.forEach((workers, i) => {
    const { residentKb, proportionalKb, commands } = found[i];
    state(`WORKERS=${workers}, idle: resident memory, all processes`, megabytes, residentKb);
    state(`WORKERS=${workers}, idle: the same, shared pages counted once`, megabytes, proportionalKb);
    state(`WORKERS=${workers}, idle: commands/s at Redis`, tenths, commands);
  });
  // From two on there is a primary as well, so what a worker costs is told from there.
  const more = found.at(-1).proportionalKb - found.at(-2).proportionalKb;
  state('a worker more, idle: memory, shared pages counted once', megabytes, more);
}

async function busy({ measuring, store, state }, counts) {
  const readers = measuring.pick(1000, 100);
  for (const workers of counts) {
    measuring.say(`${workers}, busy:`);
    const options = { store, people: measuring.pick(1000, 300), workers };
    const found = await measuring.one(row, 'throughline', options, async (side) => {
      await side.ask('postMany', {
        count: measuring.pick(WARM_POSTS, 300) * workers,
        connections: CONNECTIONS,
      });
      const ms = measuring.pick(2000, 700);
      const posts = await side.ask('postOnly', { warmMs: 500, ms, connections: CONNECTIONS });
      await side.ask('leave');
      await side.ask('open', { readers });
      const warmMs = measuring.pick(WARM_MS, 300) * workers;
      const fan = await side.ask('saturate', { warmMs, ms, window: WINDOW });
      return {
        events: fan.eventsPerSecond / (fan.serverCpu - fan.redisCpu),
        posts: posts.postsPerSecond / (posts.serverCpu - posts.redisCpu),
        redisUsPerPost: (posts.redisCpu / posts.postsPerSecond) * 1e6,
        loadCpu: Math.max(fan.loadCpu, posts.loadCpu),
      };
    });
    const name = `WORKERS=${workers}`;
    state(
      `${name}, ${whole(readers)} readers, window ${WINDOW}: events for each CPU second of the service`,
      whole,
      found.events,
    );
    state(
      `${name}, ${CONNECTIONS} posts under way: posts for each CPU second of the service, each worker’s hearing them included`,
      whole,
      found.posts,
    );
    state(
      `${name}: CPU of Redis for a post, the workers’ tails included`,
      microseconds,
      found.redisUsPerPost,
    );
  }
}

async function commandsOf(client, ms) {
  const count = async () => Number(/^total_commands_processed:(\d+)/m.exec(await client.info('stats'))[1]);
  const before = await count();
  await pause(ms);
  // The asking itself is one of them.
  return ((await count()) - before - 1) / (ms / 1000);
}
