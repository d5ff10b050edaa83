// What one Redis carries: appends while so many processes tail the journal, what they get, what all of it weighs, and sessions.
import { setTimeout as pause } from 'node:timers/promises';
import { whole } from '../rig/formats.mjs';
import { STORES } from '../rig/redis.mjs';
import { openRedisAlone } from '../rig/redis-alone.mjs';

const TEXT_BYTES = 50;
const LONG_TEXT_BYTES = 1000;
const ROOMS = 1000;
/** Fewer, so that their logs are of some length. */
const WEIGHED_ROOMS = 100;
const OUTSTANDING = 512;
const CALM = { perSecond: 500, tails: 16 };
/** From this share of its core on, a process is what limits. */
const BUSY = 0.9;
const SETTLE_MS = 400;

export const row = 9;
export const title = 'what one Redis carries';

const bytes = (value) => `${whole(value)} B`;
const microseconds = (value) => `${value.toFixed(1)} µs`;
const percent = (share) => `${Math.round(share * 100)} %`;

export async function run(measuring) {
  if (!measuring.sides.includes('throughline')) return;
  for (const store of measuring.stores) {
    await withRedis(measuring, store, measuring.pick(ROOMS, 50), async (side) => {
      await appendsOverTails({ measuring, store, side });
      await sessions({ measuring, store, side });
    });
  }
  await memory(measuring, measuring.stores.at(-1));
}

async function withRedis(measuring, store, rooms, measure) {
  const side = await openRedisAlone(store, { rooms });
  try {
    return await measure(measuring.watch(row, side));
  } finally {
    await side.close();
  }
}

/** µs of Redis' core for an append, with all that its tails ask meanwhile. */
const costOf = ({ redisCpu, perSecond }) => (redisCpu / perSecond) * 1e6;

async function appendsOverTails({ measuring, store, side }) {
  const timing = { warmMs: measuring.pick(700, 300), ms: measuring.pick(2000, 700) };
  const found = [];
  for (const tails of measuring.pick([0, 1, 4, 16, 64], [0, 4])) {
    await side.ask('openTails', { count: tails });
    const figures = await side.ask('append', { ...timing, textBytes: TEXT_BYTES, outstanding: OUTSTANDING });
    await side.ask('closeTails');
    found.push({ tails, ...figures });
    const { perSecond, redisCpu, loadCpu, entriesPerRead } = figures;
    measuring.state({
      row,
      store,
      label: `one Redis, ${tails} tails: appends/s (Redis ${percent(redisCpu)} of its core, load ${percent(loadCpu)}${tails > 1 ? `, ${whole(entriesPerRead)} entries a read` : ''}; limit: ${limitOf(figures, store)})`,
      format: whole,
      ours: perSecond,
    });
    measuring.state({
      row,
      store,
      label: `${tails} tails: appends for each CPU second of Redis`,
      format: whole,
      ours: perSecond / redisCpu,
    });
  }
  const [none, most] = [found[0], found.at(-1)];
  measuring.state({
    row,
    store,
    label: 'CPU of Redis for an append that nobody tails',
    format: microseconds,
    ours: costOf(none),
  });
  measuring.state({
    row,
    store,
    label: `CPU of Redis for each tail more, an append, saturated (0 to ${most.tails} tails)`,
    format: microseconds,
    ours: (costOf(most) - costOf(none)) / most.tails,
  });
  await calmTails({ measuring, store, side });
  measuring.state({
    row,
    store,
    label: `what a tail receives for an entry with ${TEXT_BYTES} B of text`,
    format: bytes,
    ours: most.bytesPerEntry,
  });
  const lines = (points) => [{ name: 'Throughline', points }];
  const common = { xLabel: 'processes that tail', isLog: false };
  const where = `One Redis (${STORES[store].label})`;
  measuring.plots.push(
    {
      ...common,
      title: where,
      yLabel: 'appends/s',
      lines: lines(found.map(({ tails, perSecond }) => [tails, perSecond])),
    },
    {
      ...common,
      title: where,
      yLabel: 'µs of Redis an append',
      lines: lines(found.map((one) => [one.tails, costOf(one)])),
    },
  );
}

/** Where little is said each entry wakes each tail by itself, which is dearer than what many entries in one read cost. */
async function calmTails({ measuring, store, side }) {
  const { perSecond } = CALM;
  const ms = measuring.pick(2000, 700);
  const at = async (tails) => {
    await side.ask('openTails', { count: tails });
    const figures = await side.ask('appendAtPace', { textBytes: TEXT_BYTES, perSecond, ms });
    await side.ask('closeTails');
    return figures;
  };
  const alone = await at(0);
  const tailed = await at(CALM.tails);
  measuring.state({
    row,
    store,
    label: `the same at ${perSecond} appends/s (0 to ${CALM.tails} tails, ${tailed.entriesPerRead.toFixed(1)} entries a read; Redis ${percent(alone.redisCpu)} to ${percent(tailed.redisCpu)} of its core)`,
    format: microseconds,
    ours: (costOf(tailed) - costOf(alone)) / CALM.tails,
  });
}

function limitOf({ redisCpu, loadCpu }, store) {
  if (redisCpu >= BUSY) return 'Redis';
  if (loadCpu >= BUSY) return 'the load';
  return store === 'aof' ? 'the disk' : 'the round trip';
}

async function sessions({ measuring, store, side }) {
  const count = measuring.pick(10_000, 500);
  const usedBefore = await used(side);
  await side.ask('fillSessions', { count });
  const usedAfter = await used(side);
  const { perSecond, redisCpu, loadCpu } = await side.ask('readSessions', {
    count,
    warmMs: 300,
    ms: measuring.pick(2000, 500),
    outstanding: OUTSTANDING,
  });
  measuring.state({
    row,
    store,
    label: `sessions read/s (Redis ${percent(redisCpu)} of its core, load ${percent(loadCpu)}; limit: ${redisCpu >= BUSY ? 'Redis' : 'the load'})`,
    format: whole,
    ours: perSecond,
  });
  measuring.state({
    row,
    store,
    label: 'CPU of Redis for a session read',
    format: microseconds,
    ours: (redisCpu / perSecond) * 1e6,
  });
  measuring.state({
    row,
    store,
    label: 'memory of Redis for a session',
    format: bytes,
    ours: (usedAfter - usedBefore) / count,
  });
}

/** What is written is deleted again by kind, which tells what each kind weighed. */
async function memory(measuring, store) {
  const count = measuring.pick(20_000, 1000);
  for (const textBytes of [TEXT_BYTES, LONG_TEXT_BYTES]) {
    await withRedis(measuring, store, measuring.pick(WEIGHED_ROOMS, 5), async (side) => {
      const empty = await used(side);
      await side.ask('fill', { count, textBytes, outstanding: OUTSTANDING });
      const full = await used(side);
      const weights = { 'in all': full - empty };
      let before = full;
      for (const [kind, pattern] of [
        ['of which the sent key', '*:sent:*'],
        ['of which in the room’s log', '*:log:*'],
        ['of which in the journal', '*:journal'],
      ]) {
        await forget(side.redis.client, pattern);
        const after = await used(side);
        weights[kind] = before - after;
        before = after;
      }
      for (const [kind, weight] of Object.entries(weights)) {
        measuring.state({
          row,
          store,
          label: `memory of Redis for an entry with ${textBytes} B of text, ${kind}`,
          format: bytes,
          ours: weight / count,
        });
      }
    });
  }
}

async function forget(client, pattern) {
  const names = await client.keys(pattern);
  for (let i = 0; i < names.length; i += 1000) await client.del(...names.slice(i, i + 1000));
}

/** Bytes that Redis has allocated for all but its clients' buffers, once it is at rest. */
async function used({ redis: { client } }) {
  await pause(SETTLE_MS);
  const info = await client.info('memory');
  const value = (name) => Number(new RegExp(`^${name}:(\\d+)`, 'm').exec(info)[1]);
  return value('used_memory') - value('mem_clients_normal') - value('mem_aof_buffer');
}
