import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import type { StreamId } from '../src/chat/ids.ts';
import type { RoomKey } from '../src/chat/rooms.ts';
import { MAIN_SITE } from '../src/chat/sites.ts';
import { Delivery } from '../src/delivery/delivery.ts';
import type { Frame } from '../src/delivery/frame.ts';
import type { Sink } from '../src/delivery/reader.ts';
import { Appender } from '../src/log/append.ts';
import { type JournalEntry, readJournalEnd } from '../src/log/journal.ts';
import { Keys } from '../src/log/keys.ts';
import type { Log } from '../src/log/logger.ts';
import { LogReader } from '../src/log/read.ts';
import { RoomBook } from '../src/log/room-book.ts';
import { Tail } from '../src/log/tail.ts';
import { carriers } from './support/carriers.ts';
import { startTestRedis, type TestRedis } from './support/redis.ts';
import { Person, startTestServer, testConfig } from './support/service.ts';
import { waitFor } from './support/wait-for.ts';

let redis: TestRedis;
beforeAll(async () => {
  redis = await startTestRedis();
});
afterAll(() => redis.stop());

const LOBBY_KEY = 'main/lobby' as RoomKey;

/** The lobby without a service. */
async function openLobby(config: ReturnType<typeof testConfig>) {
  const keys = new Keys(config.namespace);
  await new RoomBook(redis.client, keys, 10).open(MAIN_SITE);
  const appender = new Appender(redis.client, keys, config);
  const ada = { id: 'ada', name: 'Ada', guest: false };
  return { keys, say: (text: string) => appender.post(LOBBY_KEY, 'main/ada', ada, { text }) };
}

test('an older state restored under open readers is a rollback gap, though the epoch is the same', async () => {
  const config = testConfig(redis);
  const server = await startTestServer(config);
  try {
    const person = await Person.logIn(server.url);
    const keys = [`${config.namespace}:{0}:journal`, `${config.namespace}:{0}:log:main/lobby`];
    await person.post('kept');
    const dumps = await Promise.all(keys.map((key) => redis.client.dumpBuffer(key)));
    await person.post('lost');
    const { cursor } = await person.history();
    const followers = carriers.map((carrier) => carrier.follow(person, ['lobby'], cursor));
    const restore = redis.client.multi();
    keys.forEach((key, i) => {
      restore.restore(key, 0, dumps[i] as Buffer, 'REPLACE');
    });
    await restore.exec();
    for (const follower of followers) {
      await waitFor('the gap', () => follower.failure ?? follower.events.some(({ kind }) => kind === 'gap'));
      expect(follower.events[0]).toMatchObject({ kind: 'gap', reason: 'rollback', room: 'lobby' });
    }
    await person.post('next');
    for (const follower of followers) {
      await waitFor('what is said next', () => follower.texts.includes('next'));
      expect(follower.texts).toEqual(['kept', 'next']);
      await follower.cut();
    }
    const late = carriers[0]?.follow(person, ['lobby'], cursor);
    await waitFor('the gap', () => late?.events.some(({ kind }) => kind === 'gap'));
    expect(late?.events[0]).toMatchObject({ kind: 'gap', reason: 'rollback', after: cursor });
    await late?.cut();
  } finally {
    await server.close();
  }
});

test('a cursor ahead of this process’ window is no rollback, and nothing at or below it is told', async () => {
  const config = testConfig(redis);
  const { keys, say } = await openLobby(config);
  await say('first');
  const bounds = { entries: 10, bytes: 1e6 };
  const old = await readJournalEnd(redis.client, keys, bounds);
  const delivery = new Delivery(new LogReader(redis.client, keys), config, {
    refilled: () => {},
    failed: (error) => {
      throw error;
    },
    insisting: () => {},
  });
  delivery.refilled(old, 'start');

  await say('second');
  const { id: ahead } = await say('third');
  const frames: Frame[] = [];
  const sink: Sink = {
    carrier: 'sse',
    maxBytes: 1e6,
    isFull: false,
    tell: (run) => void frames.push(...run.frames),
    level: () => {},
    end: () => {},
  };
  const reader = delivery.enter({ rooms: [LOBBY_KEY], addresses: [], sink, isAllowed: async () => true });
  let resumed: string | undefined;
  await reader.begin(`${old.epoch}.${ahead}`, (cursor) => {
    resumed = cursor;
  });
  expect(resumed).toBe(`${old.epoch}.${ahead}`);
  expect(reader.cursor).toBe(resumed);

  await say('fourth');
  const now = await readJournalEnd(redis.client, keys, bounds);
  const heard = now.entries.filter(({ id }) => id !== (old.last as StreamId));
  for (const entry of heard) delivery.heard([entry]);
  await waitFor('news', () => frames.length > 0);
  expect(frames.map((frame) => (JSON.parse(frame.json.toString()) as { text: string }).text)).toEqual([
    'fourth',
  ]);
  expect(reader.cursor).toBe(`${old.epoch}.${now.last}`);
});

test('what couldn’t be told is told by a window filled anew, also when that fails at first', async () => {
  const config = testConfig(redis);
  const { keys, say } = await openLobby(config);
  const textsOf = (entries: readonly JournalEntry[]) =>
    entries.map(({ data }) => (JSON.parse(data) as { text?: string }).text);
  const heard: unknown[] = [];
  const complaints: string[] = [];
  const complain = (_: unknown, what?: string) => void complaints.push(String(what));
  const log = { info: () => {}, warn: complain, error: complain } as unknown as Log;
  const tail = new Tail(redis.client.duplicate(), keys, log, config, {
    heard: (entries) => {
      if (textsOf(entries).includes('unheard')) throw new Error('a bug');
      heard.push(...textsOf(entries));
    },
    refilled: ({ entries }, reason) => heard.push(reason, ...textsOf(entries)),
  });
  try {
    await tail.start();
    await redis.client.call('ACL', 'SETUSER', 'default', '-xrevrange');
    await say('unheard');
    await waitFor('a refill that fails', () => complaints.some((what) => what.includes('can’t be read')));
    await say('next');
    expect(heard).toEqual(['start']);
    await redis.client.call('ACL', 'SETUSER', 'default', '+xrevrange');
    await waitFor('the refill', () => heard.includes('next'));
    expect(heard).toEqual(['start', 'outrun', 'unheard', 'next']);
    await say('last');
    await waitFor('what is said after it', () => heard.includes('last'));
    expect(heard).toEqual(['start', 'outrun', 'unheard', 'next', 'last']);
  } finally {
    await redis.client.call('ACL', 'SETUSER', 'default', '+xrevrange');
    await tail.stop();
  }
});

test('a poll waits no longer than it says, though its cursor can’t be judged yet', async () => {
  const config = testConfig(redis);
  const server = await startTestServer(config);
  try {
    const person = await Person.logIn(server.url);
    await redis.client.acl('SETUSER', 'default', '-xrevrange');
    await redis.client.set(`${config.namespace}:{0}:epoch`, 'another');
    const asked = performance.now();
    const answer = await person.get('/api/poll?rooms=lobby&wait=1&after=unheard.5-0');
    expect(await answer.json()).toEqual({ events: [], cursor: 'unheard.5-0', more: false });
    expect(performance.now() - asked).toBeLessThan(3000);
  } finally {
    await redis.client.acl('SETUSER', 'default', '+xrevrange');
    await server.close();
  }
});

test('a short poll waits five seconds for its cursor to be judged, and no longer', async () => {
  const config = testConfig(redis);
  const server = await startTestServer(config);
  try {
    const person = await Person.logIn(server.url);
    await redis.client.acl('SETUSER', 'default', '-xrevrange');
    await redis.client.set(`${config.namespace}:{0}:epoch`, 'another');
    // The service’s timers go ten times as fast.
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    let told: unknown;
    const asked = person.get('/api/poll?rooms=lobby&wait=0&after=unheard.5-0');
    const telling = asked.then(async (answer) => (told = await answer.json()));
    let waitedMs = 0;
    for (; told === undefined && waitedMs < 10_000; waitedMs += 100) {
      vi.advanceTimersByTime(100);
      await pause(10);
    }
    expect(waitedMs).toBeGreaterThanOrEqual(5000);
    expect(waitedMs).toBeLessThan(10_000);
    await telling;
    expect(told).toEqual({ events: [], cursor: 'unheard.5-0', more: false });
  } finally {
    vi.useRealTimers();
    await redis.client.acl('SETUSER', 'default', '+xrevrange');
    await server.close();
  }
});
