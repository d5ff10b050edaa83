import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { StreamId } from '../src/chat/ids.ts';
import { type Config, DEFAULTS } from '../src/config.ts';
import { Delivery } from '../src/delivery/delivery.ts';
import { Pulse } from '../src/delivery/pulse.ts';
import type { Ending, Reader } from '../src/delivery/reader.ts';
import type { LogReader } from '../src/log/read.ts';
import type { RunningServer } from '../src/server.ts';
import { carriers, type Follower } from './support/carriers.ts';
import { changingClient, clientCarriers } from './support/client-carriers.ts';
import { startTestRedis, type TestRedis } from './support/redis.ts';
import { Person, startTestServer, testConfig } from './support/service.ts';
import { waitFor } from './support/wait-for.ts';

let redis: TestRedis;
const running: RunningServer[] = [];
beforeAll(async () => {
  redis = await startTestRedis();
});
afterAll(async () => {
  await Promise.all(running.map((server) => server.close()));
  await redis.stop();
});

/** A namespace of its own, served by as many processes as asked for. */
async function serve(overrides: Partial<Config> = {}, processes = 1) {
  const config = testConfig(redis, overrides);
  const servers: RunningServer[] = [];
  for (let i = 0; i < processes; i++) servers.push(await startTestServer(config));
  running.push(...servers);
  const person = await Person.logIn((servers[0] as RunningServer).url);
  const journal = `${config.namespace}:{0}:journal`;
  const log = (room = 'lobby') => `${config.namespace}:{0}:log:main/${room}`;
  return { config, servers, person, journal, log, urls: servers.map(({ url }) => url) };
}

const numbered = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => `m${from + i}`);

async function postAll(person: Person, texts: string[], room = 'lobby'): Promise<string[]> {
  const ids: string[] = [];
  for (const text of texts) ids.push(await person.post(text, room));
  return ids;
}

async function untilTold(follower: Follower, texts: string[], withinMs?: number): Promise<void> {
  await waitFor(
    `${texts.length} messages (has ${follower.texts.length}, ${String(follower.failure ?? 'no failure')})`,
    () => follower.failure !== undefined || follower.texts.length >= texts.length,
    withinMs,
  );
  expect(follower.failure).toBeUndefined();
  expect(follower.texts).toEqual(texts);
}

describe.each([...carriers, ...clientCarriers, changingClient])('over $name', (carrier) => {
  test('everything said after the cursor arrives once, in order, with prev and n unbroken', async () => {
    const { person } = await serve();
    const { cursor } = await person.history();
    const follower = carrier.follow(person, ['lobby'], cursor);
    await postAll(person, numbered(0, 30));
    await untilTold(follower, numbered(0, 30));
    let prev = '0-0';
    follower.events.forEach((event, i) => {
      expect(event).toMatchObject({ kind: 'message', room: 'lobby', prev, n: i + 1, user: person.user });
      prev = event.id as string;
    });
    await follower.cut();
  });

  test('a reader without a cursor is told what is said from now on', async () => {
    const { person } = await serve();
    await person.post('before');
    const follower = carrier.follow(person, ['lobby']);
    if (/SSE|WebSocket/.test(carrier.name)) await waitFor('hello', () => follower.all.length > 0);
    else
      await waitFor('the first poll', () => new Promise((resolve) => setTimeout(() => resolve(true), 100)));
    await person.post('after');
    await untilTold(follower, ['after']);
    await follower.cut();
  });

  test('readers who keep dropping and resuming, on either process, miss nothing and see nothing twice', async () => {
    const { person, urls } = await serve({ windowEntries: 4, pageEntries: 3 }, 2);
    const { cursor } = await person.history();
    const posting = postAll(person, numbered(0, 150));
    const told: string[] = [];
    let after = cursor;
    for (let drops = 0; told.length < 150 && drops < 2000; drops++) {
      const follower = carrier.follow(person.at(urls[drops % 2] as string), ['lobby'], after);
      await waitFor('some news', () => follower.failure !== undefined || follower.texts.length > 0, 20_000);
      await follower.cut();
      expect(follower.failure).toBeUndefined();
      told.push(...follower.texts);
      after = follower.cursor as string;
    }
    await posting;
    expect(told).toEqual(numbered(0, 150));
  });

  test('several rooms come over one cursor, in the order of their ids', async () => {
    const { person } = await serve({ windowEntries: 5, pageEntries: 2 });
    for (const room of ['a', 'b', 'c']) expect((await person.send('/api/rooms', { room })).status).toBe(201);
    const { cursor } = await person.history();
    const rooms = ['a', 'b', 'c'];
    const texts = numbered(0, 40);
    for (const [i, text] of texts.entries()) await person.post(text, rooms[(i * 7) % 3]);
    const follower = carrier.follow(person, ['a', 'c'], cursor);
    await untilTold(
      follower,
      texts.filter((_, i) => (i * 7) % 3 !== 1),
    );
    await follower.cut();
  });

  test('several rooms spoken in at once are told once and in order, as it happens', async () => {
    const { person, config } = await serve();
    for (const room of ['a', 'b']) await person.send('/api/rooms', { room });
    const follower = carrier.follow(person, ['a', 'b'], (await person.history()).cursor);
    for (let round = 0; round < 10; round++) {
      await Promise.all(['a', 'b', 'a', 'b', 'b', 'a'].map((room, i) => person.post(`${round}.${i}`, room)));
    }
    await waitFor('all', () => follower.failure !== undefined || follower.texts.length >= 60);
    const journal = await redis.client.xrange(`${config.namespace}:{0}:journal`, '-', '+');
    const messages = journal.filter(([, fields]) => fields.includes('message'));
    expect(follower.events.map(({ id }) => id)).toEqual(messages.map(([id]) => id));
    await follower.cut();
  });

  test('a log trimmed beyond the cursor is a gap, told once, and what is left follows', async () => {
    const { person, log } = await serve({ windowEntries: 2 });
    const { cursor } = await person.history();
    const ids = await postAll(person, numbered(0, 10));
    await redis.client.xtrim(log(), 'MAXLEN', 4);
    const follower = carrier.follow(person, ['lobby'], cursor);
    await untilTold(follower, numbered(6, 10));
    expect(follower.events[0]).toMatchObject({
      kind: 'gap',
      room: 'lobby',
      reason: 'trimmed',
      oldest: ids[6],
    });
    expect(follower.events.filter(({ kind }) => kind === 'gap')).toHaveLength(1);
    await follower.cut();
  });

  test('a log trimmed to empty is a gap', async () => {
    const { person, log } = await serve({ windowEntries: 1 });
    const { cursor } = await person.history();
    await person.send('/api/rooms', { room: 'other' });
    await postAll(person, numbered(0, 3));
    await postAll(person, ['x', 'y'], 'other');
    await redis.client.xtrim(log(), 'MAXLEN', 0);
    const follower = carrier.follow(person, ['lobby'], cursor);
    await waitFor('the gap', () => follower.events.length > 0);
    expect(follower.events).toMatchObject([{ kind: 'gap', reason: 'trimmed', oldest: null }]);
    await person.post('on');
    await untilTold(follower, ['on']);
    await follower.cut();
  });

  test.each(['at the cursor', 'after the cursor', 'in the middle'])(
    'an entry erased %s is no gap',
    async (where) => {
      const { person, log, journal } = await serve({ windowEntries: 2 });
      await postAll(person, numbered(0, 3));
      const { cursor } = await person.history();
      const ids = [cursor.split('.')[1] as string, ...(await postAll(person, numbered(3, 9)))];
      const erased = { 'at the cursor': 0, 'after the cursor': 1, 'in the middle': 3 }[where] as number;
      await redis.client.xdel(log(), ids[erased] as string);
      await redis.client.xdel(journal, ids[erased] as string);
      const follower = carrier.follow(person, ['lobby'], cursor);
      await untilTold(
        follower,
        numbered(3, 9).filter((_, i) => i !== erased - 1),
      );
      expect(follower.events.filter(({ kind }) => kind === 'gap')).toEqual([]);
      await follower.cut();
    },
  );

  test('what is no cursor, or one of another history, is a gap and the stream goes on', async () => {
    const { person } = await serve();
    await postAll(person, numbered(0, 3));
    for (const [after, reason] of [
      ['nonsense', 'unknown-cursor'],
      ['abcdef.5-0', 'rollback'],
    ] as const) {
      const follower = carrier.follow(person, ['lobby'], after);
      await untilTold(follower, numbered(0, 3));
      expect(follower.events[0]).toMatchObject({ kind: 'gap', room: 'lobby', after, reason });
      await follower.cut();
    }
  });

  test('a history that was wiped is a rollback gap, and what is said next is heard', async () => {
    const { person, config, journal, log } = await serve();
    await postAll(person, numbered(0, 3));
    const follower = carrier.follow(person, ['lobby'], (await person.history()).cursor);
    await redis.client.del(journal, log(), `${config.namespace}:{0}:epoch`);
    await waitFor('the gap', () => follower.events.some(({ kind }) => kind === 'gap'));
    expect(follower.events[0]).toMatchObject({ kind: 'gap', reason: 'rollback', room: 'lobby' });
    await person.post('anew');
    await untilTold(follower, ['anew']);
    expect(await redis.client.xlen(log())).toBe(1);
    await follower.cut();
  });

  test('the end of a session ends what it reads, on every process, with bye', async () => {
    const { person, urls } = await serve({}, 2);
    const other = await Person.logIn(urls[0] as string);
    const { cursor } = await person.history();
    const followers = urls.map((url) => carrier.follow(person.at(url), ['lobby'], cursor));
    const stays = carrier.follow(other, ['lobby'], cursor);
    await postAll(other, ['hi']);
    await Promise.all([...followers, stays].map((follower) => untilTold(follower, ['hi'])));
    const endedAt = performance.now();
    expect((await person.send('/api/session/end', {})).status).toBe(204);
    for (const follower of followers) {
      await follower.done;
      const isRefused = /401|no_session/.test(String(follower.failure));
      expect(isRefused || follower.events.at(-1)?.code === 'session_ended').toBe(true);
    }
    expect(performance.now() - endedAt).toBeLessThan(2000 + (carrier.asksEveryMs ?? 0));
    await postAll(other, ['still here']);
    await untilTold(stays, ['hi', 'still here']);
    await stays.cut();
  });
});

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
    get ended() {
      return endings[0] && { by: endings[0] };
    },
    end: (ending: Ending) => void endings.push(ending),
  } as unknown as Reader;
  const sink = { isFull: false, toldAt: 0, notice: () => {}, pad: () => {} };
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
    confirmation: { withinMs: 100, isConfirmed },
  });
  pulse.start(undefined);
  await waitFor('its end', () => endings.length > 0);
  expect(endings[0]?.code).toBe('not_confirmed');
  expect(askedAt).toHaveLength(answers.length);
  const pausesMs = askedAt.map((at, i) => at - (askedAt[i - 1] ?? at));
  for (const i of [4, 8]) expect(pausesMs[i]).toBeGreaterThanOrEqual(leaseMs / 2 - 20);
  pulse.stop();
});

test.each(['not JSON', '{}', '{"user":7,"here":true}', '{"user":{"id":"u"},"here":"yes"}', 'null'])(
  'a presence that isn’t understood (%s) is passed over, and what follows is heard',
  (data) => {
    const told: unknown[] = [];
    const delivery = new Delivery({} as LogReader, DEFAULTS, { refilled: () => {}, failed: () => {} });
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
  const events = { refilled: (reason: string) => void reasons.push(reason), failed: () => {} };
  const delivery = new Delivery({} as LogReader, DEFAULTS, events);
  const end = { epoch: 'e', start: '0-0' as StreamId, last: '1-0' as StreamId, entries: [] };
  for (const reason of ['start', 'outrun', 'rollback'] as const) delivery.refilled(end, reason);
  expect(reasons).toEqual(['start', 'outrun', 'rollback']);
});
