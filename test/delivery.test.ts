import { connect } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { formatCursor } from '../src/chat/cursors.ts';
import type { StreamId } from '../src/chat/ids.ts';
import type { RoomKey } from '../src/chat/rooms.ts';
import { DEFAULTS } from '../src/config.ts';
import { Delivery } from '../src/delivery/delivery.ts';
import type { Frame } from '../src/delivery/frame.ts';
import { Heartbeats } from '../src/delivery/heartbeats.ts';
import { Pulse } from '../src/delivery/pulse.ts';
import type { Ending, Reader, Sink } from '../src/delivery/reader.ts';
import type { LogReader } from '../src/log/read.ts';
import { carriers } from './support/carriers.ts';
import { changingClient, clientCarriers } from './support/client-carriers.ts';
import { describeContract, numbered, postAll, serviceOver, untilTold } from './support/delivery-contract.ts';
import { startTestRedis, type TestRedis } from './support/redis.ts';
import { Person, startTestServer, testConfig } from './support/service.ts';
import { waitFor } from './support/wait-for.ts';

let redis: TestRedis;
beforeAll(async () => {
  redis = await startTestRedis();
});
afterAll(() => redis.stop());

const serve = serviceOver(() => redis);

describeContract(() => redis, [...carriers, ...clientCarriers, changingClient]);

test('one cursor serves every carrier: changing between them loses and doubles nothing', async () => {
  const { person } = await serve({ windowEntries: 8, pageEntries: 4 });
  let { cursor } = await person.history();
  const posting = postAll(person, numbered(0, 120));
  const told: string[] = [];
  for (let i = 0; told.length < 120; i++) {
    const carrier = carriers[i % carriers.length] as (typeof carriers)[number];
    const follower = carrier.follow(person, ['lobby'], cursor);
    await waitFor('some news', () => follower.failure !== undefined || follower.texts.length > 0);
    await follower.cut();
    expect(follower.failure).toBeUndefined();
    told.push(...follower.texts);
    cursor = follower.cursor as string;
  }
  await posting;
  expect(told).toEqual(numbered(0, 120));
});

test('a tail outrun by trimming goes on from the room logs: no rollback, nothing lost', async () => {
  const { person, journal, urls } = await serve({ tailBatchEntries: 2, windowEntries: 3 }, 2);
  const { cursor } = await person.history();
  const [stream] = carriers;
  const follower = (stream as (typeof carriers)[number]).follow(
    person.at(urls[1] as string),
    ['lobby'],
    cursor,
  );
  await waitFor('hello', () => follower.all.length > 0);
  const posts = numbered(0, 200).map((text) => person.post(text));
  const trims = Array.from({ length: 50 }, () => redis.client.xtrim(journal, 'MAXLEN', 1));
  await Promise.all([...posts, ...trims]);
  await redis.client.xtrim(journal, 'MAXLEN', 0);
  await waitFor('all', () => follower.texts.length >= 200);
  const ids = follower.events.map(({ id }) => id);
  expect(follower.events.filter(({ kind }) => kind === 'gap')).toEqual([]);
  expect(new Set(follower.texts).size).toBe(200);
  const history = await redis.client.xrange(`${journal.replace('journal', 'log')}:main/lobby`, '-', '+');
  expect(ids).toEqual(history.map(([id]) => id));
  await follower.cut();
});

test('FLUSHALL under a blocked read is a rollback gap, and the lobby is there again', async () => {
  const own = await startTestRedis();
  const server = await startTestServer(testConfig(own));
  try {
    const person = await Person.logIn(server.url);
    await postAll(person, numbered(0, 3));
    const follower = (carriers[0] as (typeof carriers)[number]).follow(
      person,
      ['lobby'],
      (await person.history()).cursor,
    );
    await waitFor('hello', () => follower.all.length > 0);
    await own.client.flushall();
    await waitFor('the gap', () => follower.events.length > 0);
    expect(follower.events).toMatchObject([{ kind: 'gap', reason: 'rollback', room: 'lobby' }]);
    const again = await waitFor('a log-in', async () => Person.logIn(server.url).catch(() => undefined));
    await waitFor('the lobby', async () => (await again.get('/api/rooms/lobby')).ok);
    await again.post('anew');
    await untilTold(follower, ['anew']);
    await follower.cut();
  } finally {
    await server.close();
    await own.stop();
  }
});

test('an HTTP/1.0 client is streamed to without chunks', async () => {
  const { person, urls } = await serve();
  const { port } = new URL(urls[0] as string);
  const socket = connect(Number(port), '127.0.0.1');
  let text = '';
  socket.on('data', (bytes) => {
    text += bytes;
  });
  socket.write(`GET /api/stream?rooms=lobby HTTP/1.0\r\nCookie: ${person.cookie}\r\n\r\n`);
  await waitFor('hello', () => text.includes('event: hello'));
  await person.post('plain');
  await waitFor('the message', () => text.includes('"text":"plain"'));
  expect(text.toLowerCase()).not.toContain('transfer-encoding');
  socket.destroy();
});

test('a reader that takes nothing is not written to, falls behind, and costs no memory; one that stalls is ended', async () => {
  const { person, servers, urls } = await serve({ stallMs: 3000, windowEntries: 20, windowBytes: 200_000 });
  const { port } = new URL(urls[0] as string);
  const { cursor } = await person.history();
  const sockets = Array.from({ length: 50 }, () => {
    const socket = connect(Number(port), '127.0.0.1');
    socket.on('error', () => {});
    socket.write(
      `GET /api/stream?rooms=lobby&after=${cursor} HTTP/1.1\r\nHost: x\r\nCookie: ${person.cookie}\r\n\r\n`,
    );
    return socket;
  });
  await Promise.all(sockets.map((socket) => new Promise((resolve) => socket.once('data', resolve))));
  for (const socket of sockets) socket.pause();
  const before = process.memoryUsage().rss;
  const text = 'x'.repeat(4000);
  for (let i = 0; i < 2000; i++) await person.post(text);
  // 50 readers × 8 MB would be 400 MB if they were buffered for; the sockets' own buffers are the kernel's.
  expect(process.memoryUsage().rss - before).toBeLessThan(150 * 1024 * 1024);
  // Whoever reads on before that wasn't stalled.
  await waitFor('all to be ended', () => servers[0]?.readers === 0, 30_000);
  const closed = sockets.map((socket) => new Promise((resolve) => socket.once('close', resolve)));
  for (const socket of sockets) socket.resume();
  await Promise.all(closed);
}, 90_000);

test('a stream isn’t ended for want of a confirmation that Redis may have lost, until its client had the time for another', async () => {
  const endings: Ending[] = [];
  const reader = {
    toldAt: 0,
    get ended() {
      return endings[0] && { by: endings[0] };
    },
    end: (ending: Ending) => void endings.push(ending),
  } as unknown as Reader;
  const sink = { isFull: false, notice: () => {}, pad: () => {} };
  const askedAt: number[] = [];
  const answers = [true, 'away', 'away', false, true, true, 'away', false, false] as const;
  const isConfirmed = async () => {
    askedAt.push(performance.now());
    const answer = answers[askedAt.length - 1] ?? false;
    if (answer === 'away') throw new Error('Connection is closed.');
    return answer;
  };
  const leaseMs = 600;
  const pulse = new Pulse(reader, sink, {
    nonce: 'n',
    heartbeatMs: 50,
    leaseMs,
    maxAgeMs: 60_000,
    byeSpreadMs: 0,
    heartbeats: new Heartbeats(),
    confirmation: { withinMs: 100, isConfirmed },
  });
  pulse.start(undefined);
  pulse.settle(true);
  await waitFor('its end', () => endings.length > 0);
  expect(endings[0]?.code).toBe('not_confirmed');
  expect(askedAt).toHaveLength(answers.length);
  const pausesMs = askedAt.map((at, i) => at - (askedAt[i - 1] ?? at));
  for (const i of [4, 8]) expect(pausesMs[i]).toBeGreaterThanOrEqual(leaseMs / 2 - 20);
  pulse.stop();
});

test('the heartbeat that proves a stream comes also while its socket is full, and no other does', async () => {
  const told: string[] = [];
  const reader = { isLevel: false, toldAt: 0 } as unknown as Reader;
  const sink = { isFull: false, notice: ({ kind }: Frame) => void told.push(kind), pad: () => {} };
  const pulse = new Pulse(reader, sink, {
    nonce: 'n',
    heartbeatMs: 50,
    leaseMs: 60_000,
    maxAgeMs: 60_000,
    byeSpreadMs: 0,
    heartbeats: new Heartbeats(),
  });
  pulse.start('e.1-0');
  pulse.settle(true);
  sink.isFull = true;
  await waitFor('the proof', () => told.length > 1);
  await pause(300);
  expect(told).toEqual(['hello', 'heartbeat']);
  sink.isFull = false;
  await waitFor('the next', () => told.length > 2);
  pulse.stop();
});

test('a stream’s time for its first confirmation begins with its hello', async () => {
  const asked: number[] = [];
  const reader = { isLevel: true, cursor: 'e.1-0', toldAt: 0 } as unknown as Reader;
  const pulse = new Pulse(
    reader,
    { isFull: false, notice: () => {}, pad: () => {} },
    {
      nonce: 'n',
      heartbeatMs: 20_000,
      leaseMs: 60_000,
      maxAgeMs: 60_000,
      byeSpreadMs: 0,
      heartbeats: new Heartbeats(),
      confirmation: {
        withinMs: 800,
        isConfirmed: async () => {
          asked.push(performance.now());
          return true;
        },
      },
    },
  );
  // Redis takes its time before the stream can begin.
  await pause(600);
  const helloAt = performance.now();
  pulse.start('e.1-0');
  pulse.settle(true);
  await waitFor('the question', () => asked.length > 0);
  expect((asked[0] as number) - helloAt).toBeGreaterThanOrEqual(790);
  pulse.stop();
});

test('what readers can’t be read is said, once in a while, and asked for again ever more seldom', async () => {
  const [said, asked]: [unknown[], number[]] = [[], []];
  const id = (n: number) => `${n}-0` as StreamId;
  const log: Partial<LogReader> = {
    facts: async () => ({ epoch: 'e', last: id(9), base: id(1), isHeld: true, nextBefore: undefined }),
    page: async () => {
      asked.push(performance.now());
      throw new Error('WRONGTYPE');
    },
  };
  const events = { refilled: () => {}, failed: () => {}, insisting: (error: unknown) => said.push(error) };
  const delivery = new Delivery(log as LogReader, DEFAULTS, events);
  delivery.refilled({ epoch: 'e', start: id(5), last: id(9), entries: [] }, 'start');
  const nothing = () => {};
  const sink: Sink = {
    carrier: 'sse',
    isFull: false,
    maxBytes: 1000,
    tell: nothing,
    level: nothing,
    end: nothing,
  };
  const rooms = ['main/lobby' as RoomKey];
  const reader = delivery.enter({ rooms, addresses: [], sink, isAllowed: async () => true });
  void reader.begin(formatCursor('e', id(2)), () => {});
  await waitFor('some tries', () => asked.length >= 4, 20_000);
  reader.end();
  const pausesMs = asked.slice(1).map((at, i) => at - (asked[i] as number));
  // Each is the last one's twice, give or take half.
  expect(pausesMs[2]).toBeGreaterThanOrEqual(490);
  expect(said).toHaveLength(1);
  expect(String((said[0] as Error).cause ?? said[0])).toContain('WRONGTYPE');
});

test.each(['not JSON', '{}', '{"user":7,"here":true}', '{"user":{"id":"u"},"here":"yes"}', 'null'])(
  'a presence that isn’t understood (%s) is passed over, and what follows is heard',
  (data) => {
    const told: unknown[] = [];
    const delivery = new Delivery({} as LogReader, DEFAULTS, {
      refilled: () => {},
      failed: () => {},
      insisting: () => {},
    });
    delivery.heardPresence = (...all) => told.push(all);
    const id = (seq: number) => `1-${seq}` as StreamId;
    delivery.refilled({ epoch: 'e', start: id(0), last: id(0), entries: [] }, 'start');
    const entry = (seq: number, data: string) => ({
      id: id(seq),
      prev: id(seq - 1),
      before: id(seq - 1),
      kind: 'presence',
      n: 0,
      to: 'room:main/lobby' as const,
      data,
    });
    const user = { id: 'u', name: 'U', guest: true };
    delivery.heard([entry(1, data), entry(2, JSON.stringify({ user, here: false }))]);
    expect(told).toEqual([['main/lobby', user, false]]);
    expect(delivery.window.end).toBe(id(2));
  },
);

test('any refill is told, since goings may have passed unheard', () => {
  const reasons: string[] = [];
  const events = {
    refilled: (reason: string) => void reasons.push(reason),
    failed: () => {},
    insisting: () => {},
  };
  const delivery = new Delivery({} as LogReader, DEFAULTS, events);
  const end = { epoch: 'e', start: '0-0' as StreamId, last: '1-0' as StreamId, entries: [] };
  for (const reason of ['start', 'outrun', 'rollback'] as const) delivery.refilled(end, reason);
  expect(reasons).toEqual(['start', 'outrun', 'rollback']);
});
