// The load on a Redis alone: the service's own appender and tail, from dist/, and further tails that ask the same.
import { setTimeout as pause } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { DEFAULTS } from '../../dist/config.js';
import { Appender } from '../../dist/log/append.js';
import { readJournalEnd } from '../../dist/log/journal.js';
import { Keys } from '../../dist/log/keys.js';
import { RoomBook } from '../../dist/log/room-book.js';
import { Tail } from '../../dist/log/tail.js';
import { LeanRedis } from './lean-redis.mjs';
import { mark, obey } from './obey.mjs';
import { RedisTail } from './redis-tail.mjs';
import { measured } from './saturate.mjs';

/** As many processes of the service would have: each has one for its posts. */
const CONNECTIONS = 8;
const PEOPLE = 2000;
const SITE = 'main';
const FILLER = 'The quick brown fox jumps over the lazy dog. ';
const DRAIN_MS = 20_000;

const keys = new Keys('tl');
const LOG = { warn: (_, what) => fail(what), error: (_, what) => fail(what), info: () => {} };
let port;
let commands;
let connections = [];
let appenders = [];
let rooms = [];
let tails = [];
let serviceTail;
let appended = 0;
let appendedBefore = 0;
let number = 0;
let broken;

function fail(why) {
  broken ??= new Error(why);
}

function open(options) {
  const redis = new Redis(port, '127.0.0.1', options);
  redis.on('error', (error) => fail(error.message));
  return redis;
}

const people = Array.from({ length: PEOPLE }, (_, i) => ({
  id: `guest-${String(i).padStart(12, '0')}`,
  name: `bench ${i}`,
  guest: true,
}));

async function append(textBytes) {
  const k = number++;
  const user = people[k % PEOPLE];
  const draft = {
    text: `~${String(k).padStart(9, '0')} `.padEnd(textBytes, FILLER),
    clientId: `bench-${String(k).padStart(16, '0')}`,
  };
  await appenders[k % CONNECTIONS].post(rooms[k % rooms.length], `${SITE}/${user.id}`, user, draft);
  appended++;
}

/** Keeps `outstanding` jobs under way until `isOver`. */
function keepBusy(outstanding, isOver, job) {
  return Promise.all(
    Array.from({ length: outstanding }, async () => {
      while (!isOver() && !broken) await job();
    }),
  );
}

/** As often as a job gets done, `outstanding` of them under way. */
async function rateOf(job, { warmMs, ms, outstanding }) {
  let done = 0;
  let isOver = false;
  const all = keepBusy(
    outstanding,
    () => isOver,
    async () => {
      await job();
      done++;
    },
  );
  all.catch((error) => fail(error.message));
  await pause(warmMs);
  const figures = await measured(mark, async () => {
    const [before, told, start] = [done, readSoFar(), performance.now()];
    await pause(ms);
    const seconds = (performance.now() - start) / 1000;
    return { perSecond: (done - before) / seconds, ...tellRates(told, seconds) };
  });
  isOver = true;
  await all;
  return figures;
}

function readSoFar() {
  const sum = (figure) => tails.reduce((total, tail) => total + tail[figure], 0);
  return { entries: sum('entries'), reads: sum('reads'), bytes: sum('bytes') };
}

function tellRates(before, seconds) {
  const now = readSoFar();
  const entries = now.entries - before.entries;
  return {
    entriesPerSecond: entries / seconds,
    entriesPerRead: entries / (now.reads - before.reads),
    bytesPerEntry: (now.bytes - before.bytes) / entries,
  };
}

/** The service's own tail, which checks that each entry follows the one before it. */
async function openServiceTail() {
  const heard = { entries: 0, last: undefined };
  const tail = new Tail(open({}), keys, LOG, DEFAULTS, {
    heard(entries) {
      for (const { id, before } of entries) {
        if (before !== heard.last) fail(`${id} follows ${before}, not ${heard.last}`);
        heard.last = id;
      }
      heard.entries += entries.length;
    },
    refilled(end, reason) {
      heard.last = end.last;
      if (reason !== 'start') fail(`the tail was filled anew: ${reason}`);
    },
  });
  await tail.start();
  return { heard, close: () => tail.stop() };
}

async function haveAllRead() {
  const wanted = appended - appendedBefore;
  const all = () => [...tails, ...(serviceTail ? [serviceTail.heard] : [])];
  for (const end = performance.now() + DRAIN_MS; performance.now() < end && !broken; await pause(5)) {
    if (all().every(({ entries }) => entries === wanted)) return;
  }
  throw new Error(`${all().map(({ entries }) => entries)} entries were read of ${wanted}`);
}

const phases = {
  async prepare({ port: redisPort, rooms: count }) {
    port = redisPort;
    commands = open({});
    connections = Array.from({ length: CONNECTIONS }, () => new LeanRedis(port, fail));
    appenders = connections.map((redis) => new Appender(redis, keys, { ...DEFAULTS, postsPerSecond: 1e9 }));
    const book = new RoomBook(commands, keys, count);
    rooms = Array.from({ length: count }, (_, i) => `${SITE}/room-${i}`);
    await Promise.all(rooms.map((_, i) => book.create(SITE, `room-${i}`, `Room ${i}`, 'bench')));
    return {};
  },
  /** So many tails, the first of which is the service's own. */
  async openTails({ count }) {
    appendedBefore = appended;
    if (count === 0) return {};
    serviceTail = await openServiceTail();
    const { last } = await readJournalEnd(commands, keys, { entries: 1, bytes: 1 });
    const batchEntries = DEFAULTS.tailBatchEntries;
    tails = Array.from(
      { length: count - 1 },
      () => new RedisTail({ port, keys, position: last, batchEntries, checks: commands, onBroken: fail }),
    );
    return {};
  },
  /** Each has read all that was appended, or it is an error. */
  async closeTails() {
    await haveAllRead();
    for (const tail of tails) tail.close();
    tails = [];
    await serviceTail?.close();
    serviceTail = undefined;
    return {};
  },
  append: ({ textBytes, ...timing }) => rateOf(() => append(textBytes), timing),
  /** Appends at a steady pace, each alone. */
  async appendAtPace({ textBytes, perSecond, ms }) {
    const underWay = new Set();
    const figures = await measured(mark, async () => {
      const told = readSoFar();
      const start = performance.now();
      for (let k = 0; k < (ms / 1000) * perSecond; k++) {
        const wait = start + (k * 1000) / perSecond - performance.now();
        if (wait > 0) await pause(wait);
        const one = append(textBytes)
          .catch((error) => fail(error.message))
          .finally(() => underWay.delete(one));
        underWay.add(one);
      }
      await Promise.all(underWay);
      const seconds = (performance.now() - start) / 1000;
      return { perSecond: ((ms / 1000) * perSecond) / seconds, ...tellRates(told, seconds) };
    });
    return figures;
  },
  async fill({ count, textBytes, outstanding }) {
    const last = number + count;
    await keepBusy(
      outstanding,
      () => number >= last,
      () => append(textBytes),
    );
    return {};
  },
  async fillSessions({ count }) {
    const pipeline = commands.pipeline();
    for (let i = 0; i < count; i++) {
      const cookie = {
        originalMaxAge: null,
        expires: null,
        secure: false,
        httpOnly: true,
        path: '/',
        sameSite: 'lax',
      };
      const session = { cookie, site: SITE, user: people[i % PEOPLE] };
      pipeline.set(sessionKey(i), JSON.stringify(session), 'EX', 86_400);
    }
    await pipeline.exec();
    return {};
  },
  async readSessions({ count, ...timing }) {
    let turn = 0;
    return rateOf(async () => {
      const k = turn++;
      if ((await connections[k % CONNECTIONS].get(sessionKey(k % count))) === null)
        fail('a session is missing');
    }, timing);
  },
};

/** As long as those of express-session. */
function sessionKey(i) {
  return keys.sessionPrefix + String(i).padStart(32, '0');
}

obey(phases, () => {
  if (broken) throw broken;
});
