// The service with several workers. They share the servers' one core, so that what counts is work for each CPU second, and what
// each worker costs that has nothing to do.
import { setTimeout as pause } from 'node:timers/promises';
import { whole } from '../rig/formats.mjs';

const CONNECTIONS = 256;
const WINDOW = 16;
/** As WINDOW_ENTRIES. */
const WINDOW_ENTRIES = 10_000;
const SETTLE_MS = 1500;

export const row = 10;
export const title = 'what workers cost';

const megabytes = (kilobytes) => `${(kilobytes / 1024).toFixed(1)} MB`;
const microseconds = (value) => `${value.toFixed(1)} µs`;

export async function run(measuring) {
  if (!measuring.sides.includes('throughline')) return;
  const store = measuring.stores[0];
  const counts = measuring.pick([1, 2, 4], [1, 2]);
  const readers = measuring.pick(2000, 100);
  const found = [];
  for (const workers of counts) {
    measuring.say(`with ${workers}:`);
    const options = { store, people: readers, workers };
    found.push(await measuring.one(row, 'throughline', options, (side) => measure(measuring, side, readers)));
  }
  tell({ measuring, store, counts, readers }, found);
}

async function measure(measuring, side, readers) {
  await side.restart();
  await pause(SETTLE_MS);
  const idle = { residentKb: side.residentKb(), proportionalKb: side.proportionalKb() };
  const commandsPerSecond = await commandsOf(side.redis.client, measuring.pick(3000, 1000));
  await side.ask('open', { readers });
  const fan = await side.ask('saturate', { warmMs: 700, ms: measuring.pick(2500, 700), window: WINDOW });
  await side.ask('leave');
  const posts = await side.ask('postOnly', {
    warmMs: measuring.pick(2500, 700),
    ms: measuring.pick(2500, 700),
    connections: CONNECTIONS,
  });
  await side.ask('postMany', { count: measuring.pick(WINDOW_ENTRIES, 200) });
  await side.restart();
  await pause(SETTLE_MS);
  const service = (figures) => figures.serverCpu - figures.redisCpu;
  return {
    ...idle,
    fullKb: side.proportionalKb(),
    commandsPerSecond,
    events: fan.eventsPerSecond,
    eventsPerCpuSecond: fan.eventsPerSecond / service(fan),
    posts: posts.postsPerSecond,
    postsPerCpuSecond: posts.postsPerSecond / service(posts),
    redisUsPerPost: (posts.redisCpu / posts.postsPerSecond) * 1e6,
    loadCpu: Math.max(fan.loadCpu, posts.loadCpu),
  };
}

async function commandsOf(client, ms) {
  const count = async () => Number(/^total_commands_processed:(\d+)/m.exec(await client.info('stats'))[1]);
  const before = await count();
  await pause(ms);
  // The asking itself is one of them.
  return ((await count()) - before - 1) / (ms / 1000);
}

function tell({ measuring, store, counts, readers }, found) {
  const state = (label, format, ours) => measuring.state({ row, store, label, format, ours });
  counts.forEach((workers, i) => {
    const one = found[i];
    const name = `WORKERS=${workers}`;
    state(
      `${name}, ${whole(readers)} readers, window ${WINDOW}: events for each CPU second of the service`,
      whole,
      one.eventsPerCpuSecond,
    );
    state(
      `${name}, ${CONNECTIONS} posts under way: posts for each CPU second of the service`,
      whole,
      one.postsPerCpuSecond,
    );
    state(`${name}: CPU of Redis for a post`, microseconds, one.redisUsPerPost);
    state(`${name}, idle: commands/s at Redis`, (value) => value.toFixed(1), one.commandsPerSecond);
    state(`${name}, idle: resident memory, all processes`, megabytes, one.residentKb);
    state(`${name}, idle: the same, shared pages counted once`, megabytes, one.proportionalKb);
  });
  // From two on there is a primary as well, so what a worker costs is told between those.
  const [from, to] = counts.length > 2 ? [1, counts.length - 1] : [0, counts.length - 1];
  const more = counts[to] - counts[from];
  const each = (figure) => (found[to][figure] - found[from][figure]) / more;
  const span = `a worker more (${counts[from]} to ${counts[to]})`;
  state(`${span}, idle: memory, shared pages counted once`, megabytes, each('proportionalKb'));
  state(`${span}, idle, its window full of short messages: memory`, megabytes, each('fullKb'));
  state(`${span}, idle: commands/s at Redis`, (value) => value.toFixed(1), each('commandsPerSecond'));
  state(
    `${span}: CPU of the service for each post that it hears`,
    microseconds,
    (1e6 / found[to].postsPerCpuSecond - 1e6 / found[from].postsPerCpuSecond) / more,
  );
  state(`${span}: CPU of Redis for each post that it hears`, microseconds, each('redisUsPerPost'));
}
