import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { type ClientOptions, Refused, ThroughlineClient } from '../src/browser/client.ts';
import type { State } from '../src/browser/feed.ts';
import type { Pending } from '../src/browser/outbox.ts';
import { memoryStore } from '../src/browser/outbox-store.ts';
import type { MessageEntry } from '../src/chat/entries.ts';
import type { Config } from '../src/config.ts';
import { ChaosProxy } from './proxies/chaos.ts';
import { isEventStream, isPoll, isStream, type Rule } from './proxies/habits.ts';
import { clientOf } from './support/client.ts';
import { startTestRedis, type TestRedis } from './support/redis.ts';
import { Person, startTestServer, testConfig } from './support/service.ts';
import { waitFor } from './support/wait-for.ts';

let redis: TestRedis;
const cleanUps: (() => unknown)[] = [];
beforeAll(async () => {
  redis = await startTestRedis();
});
afterAll(() => redis.stop());
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

async function serve(overrides: Partial<Config> = {}) {
  const config = testConfig(redis, { heartbeatMs: 2000, ...overrides });
  const server = await startTestServer(config);
  cleanUps.push(() => server.close());
  return { config, server, person: await Person.logIn(server.url) };
}

/** A service behind a proxy that does what its rules say. */
async function serveBehind(rules: readonly Rule[]) {
  const { server, person } = await serve();
  const proxy = await ChaosProxy.start({ port: Number(new URL(server.url).port) }, rules);
  cleanUps.push(() => proxy.stop());
  return { server, person, proxy, inside: person.at(proxy.url) };
}

interface Ears {
  readonly client: ThroughlineClient;
  readonly messages: MessageEntry[];
  readonly states: State[];
  readonly posts: Pending[];
  readonly texts: () => string[];
}

function listen(client: ThroughlineClient): Ears {
  cleanUps.push(() => client.close());
  const messages: MessageEntry[] = [];
  const states: State[] = [];
  const posts: Pending[] = [];
  client.on('message', (message) => messages.push(message));
  client.on('state', (state) => states.push(state));
  client.on('outbox', (post) => posts.push(post));
  return { client, messages, states, posts, texts: () => messages.map(({ text }) => text) };
}

const hear = (person: Person, options: ClientOptions = {}) => listen(clientOf(person, options));
const carrierOf = ({ client: { state } }: Ears) => (state.phase === 'live' ? state.carrier : state.phase);
const numbered = (count: number) => Array.from({ length: count }, (_, i) => `m${i}`);

test('history and what follows it meet without a hole or a repetition, whatever is said meanwhile', async () => {
  const { person } = await serve();
  await person.send('/api/rooms', { room: 'den' });
  const said: string[] = [];
  let isOver = false;
  const talking = (async () => {
    for (let i = 0; !isOver; i++) {
      await person.post(`m${i}`, i % 2 ? 'lobby' : 'den');
      said.push(`m${i}`);
    }
  })();
  const ears = hear(person);
  const first = await ears.client.connect(['lobby']);
  await waitFor('some talk', () => ears.messages.length > 20);
  const page = await ears.client.join('den');
  await waitFor('some more', () => ears.messages.filter(({ room }) => room === 'den').length > 20);
  isOver = true;
  await talking;
  const last = await person.post('last', 'lobby');
  await waitFor('the last', () => ears.messages.some(({ id }) => id === last));
  for (const [room, start] of [
    ['lobby', first.get('lobby')?.events],
    ['den', page.events],
  ] as const) {
    const told = [...(start ?? []), ...ears.messages.filter((message) => message.room === room)];
    const from = told[0]?.n ?? 0;
    expect(told.map(({ n }) => n)).toEqual(told.map((_, i) => from + i));
  }
});

test('what isn’t followed any more isn’t told', async () => {
  const { person } = await serve();
  await person.send('/api/rooms', { room: 'den' });
  const ears = hear(person);
  await ears.client.connect(['lobby', 'den']);
  await ears.client.leave('den');
  await person.post('in the den', 'den');
  await person.post('in the lobby');
  await waitFor('the lobby', () => ears.messages.length > 0);
  expect(ears.texts()).toEqual(['in the lobby']);
  expect((await ears.client.rooms()).find(({ room }) => room === 'den')?.isMember).toBe(false);
});

test('posts go out in order and come back once, with the outbox empty in the end', async () => {
  const { person } = await serve();
  const ears = hear(person);
  await ears.client.connect(['lobby']);
  const posts = numbered(20).map((text) => ears.client.post('lobby', text));
  await waitFor('all', () => ears.messages.length >= 20 && ears.client.pending().length === 0);
  expect(ears.messages.map(({ clientId }) => clientId)).toEqual(posts.map(({ clientId }) => clientId));
  for (const { clientId } of posts) {
    const statuses = ears.posts.filter((post) => post.clientId === clientId).map(({ status }) => status);
    expect(statuses[0]).toBe('pending');
    expect(statuses.at(-1)).toBe('sent');
  }
});

test('what is posted while the service is down is said once, in order, when it is back; nothing is missed', async () => {
  const { config, server, person } = await serve();
  const port = Number(new URL(server.url).port);
  const ears = hear(person);
  await ears.client.connect(['lobby']);
  await waitFor('live', () => ears.client.state.phase === 'live');
  ears.client.post('lobby', 'before');
  await waitFor('before', () => ears.messages.length === 1);
  await server.close();
  const endings: unknown[] = [];
  ears.client.on('ended', (ending) => endings.push(ending));
  await waitFor('offline', () => ears.client.state.phase === 'offline');
  for (const text of numbered(5)) ears.client.post('lobby', text);
  const again = await startTestServer({ ...config, port });
  cleanUps.push(() => again.close());
  await waitFor('all', () => ears.messages.length === 6, 20_000);
  expect(ears.texts()).toEqual(['before', ...numbered(5)]);
  expect(endings).toEqual([]);
  expect((await person.history()).events.map(({ text }) => text)).toEqual(['before', ...numbered(5)]);
});

test('a post that was accepted without its answer arriving is said once', async () => {
  const { inside, person, proxy } = await serveBehind([]);
  const ears = hear(inside);
  await ears.client.connect(['lobby']);
  proxy.rules = [
    {
      on: ({ method, path }) => method === 'POST' && path.endsWith('/messages'),
      hold: 'answer',
      cut: { afterMs: 100, how: 'torn' },
    },
  ];
  const { clientId } = ears.client.post('lobby', 'hello');
  await waitFor('the message', () => ears.messages.length > 0);
  await waitFor('the outbox to be empty', () => ears.client.pending().length === 0);
  expect(ears.posts.at(-1)).toMatchObject({ clientId, status: 'sent', id: ears.messages[0]?.id });
  expect((await person.history()).events).toHaveLength(1);
});

test('a refused post fails with its code and holds nothing up; discarding it forgets it', async () => {
  const { person } = await serve();
  const ears = hear(person);
  await ears.client.connect(['lobby']);
  const { clientId } = ears.client.post('lobby', 'x'.repeat(5000));
  ears.client.post('lobby', 'fine');
  await waitFor('the good one', () => ears.texts().includes('fine'));
  expect(ears.client.pending()).toMatchObject([{ clientId, status: 'failed', error: 'invalid_field' }]);
  ears.client.discard(clientId);
  expect(ears.client.pending()).toEqual([]);
});

test('an outbox outlives its client', async () => {
  const { person, proxy, inside } = await serveBehind([]);
  const store = memoryStore();
  const first = hear(inside, { outbox: store });
  await first.client.connect(['lobby']);
  proxy.rules = [{ on: ({ method }) => method === 'POST', answer: { status: 503, html: 'no' } }];
  first.client.post('lobby', 'kept');
  await waitFor('a try', () => (proxy.asked.get('POST /api/rooms/lobby/messages') ?? 0) > 0);
  first.client.close();
  proxy.rules = [];
  const second = hear(inside, { outbox: store });
  await second.client.connect(['lobby']);
  // The second is another tab: it adopts what nobody has touched for ten seconds.
  await waitFor('the post', () => second.texts().includes('kept'), 25_000);
  expect((await person.history()).events).toHaveLength(1);
});

test('a log-out elsewhere ends it, and says so once', async () => {
  const { person } = await serve();
  const ears = hear(person);
  const endings: string[] = [];
  ears.client.on('ended', ({ reason }) => endings.push(reason));
  await ears.client.connect(['lobby']);
  await waitFor('live', () => ears.client.state.phase === 'live');
  await person.send('/api/session/end', {});
  await waitFor('the end', () => endings.length > 0);
  expect(endings).toEqual(['session_ended']);
  expect(ears.client.state).toEqual({ phase: 'offline', reason: 'session_ended', nextTryAt: undefined });
});

test('connecting says what is wrong for good, and waits out what will pass', async () => {
  const { person, proxy, inside } = await serveBehind([{ answer: { status: 502, html: '<p>Bad gateway' } }]);
  await expect(hear(person).client.connect(['nowhere'])).rejects.toMatchObject({ code: 'room_not_found' });
  const nobody = new ThroughlineClient({ url: person.url, outbox: memoryStore() });
  await expect(nobody.connect(['lobby'])).rejects.toBeInstanceOf(Refused);
  const ears = hear(inside);
  const connected = ears.client.connect(['lobby']);
  await waitFor('a word', () => ears.states.some(({ phase }) => phase === 'offline'));
  expect(ears.states.at(-1)).toMatchObject({ phase: 'offline', reason: 'blocked' });
  proxy.rules = [];
  ears.client.wake('online');
  await connected;
  await waitFor('live', () => ears.client.state.phase === 'live');
});

test('a listener that throws costs the others nothing', async () => {
  const { person } = await serve();
  const ears = hear(person);
  const thrown: unknown[] = [];
  const before = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException');
  process.on('uncaughtException', (error) => thrown.push(error));
  cleanUps.push(() => {
    process.removeAllListeners('uncaughtException');
    for (const listener of before) process.on('uncaughtException', listener);
  });
  const client = ears.client;
  client.on('message', () => {
    throw new Error('in a listener');
  });
  const later: string[] = [];
  client.on('message', ({ text }) => later.push(text));
  await client.connect(['lobby']);
  client.post('lobby', 'one');
  client.post('lobby', 'two');
  await waitFor('both', () => later.length === 2 && thrown.length === 2);
});

test('rooms joined all at once each begin where their page ends', async () => {
  const { person } = await serve();
  const rooms = ['a', 'b', 'c', 'd'];
  for (const room of rooms) await person.send('/api/rooms', { room });
  let isOver = false;
  const talking = (async () => {
    for (let i = 0; !isOver; i++) await person.post(`m${i}`, rooms[i % 4]);
  })();
  const ears = hear(person);
  await ears.client.connect();
  const pages = await Promise.all(rooms.map((room) => ears.client.join(room)));
  await waitFor('some talk', () => ears.messages.length > 40);
  isOver = true;
  await talking;
  for (const [i, room] of rooms.entries()) {
    const last = await person.post('last', room);
    await waitFor('the last', () => ears.messages.some(({ id }) => id === last));
    const told = [...(pages[i]?.events ?? []), ...ears.messages.filter((message) => message.room === room)];
    expect(told.map(({ n }) => n)).toEqual(told.map((_, at) => (told[0]?.n ?? 0) + at));
  }
});

test('a room that isn’t there is refused, and costs those that are nothing', async () => {
  const { person } = await serve();
  const ears = hear(person);
  await ears.client.connect(['lobby']);
  await expect(ears.client.follow('nowhere')).rejects.toMatchObject({ code: 'room_not_found' });
  await expect(ears.client.join('../session/end?')).rejects.toMatchObject({ code: 'invalid_field' });
  await person.post('still here');
  await waitFor('the message', () => ears.messages.length > 0);
});

test('a stream that is never quiet keeps its lease, and its reader stays here', async () => {
  const { person } = await serve({ leaseMs: 2000, confirmMs: 1000 });
  const watching = hear(person);
  const comings: string[] = [];
  watching.client.on('presence', ({ user, here }) => comings.push(`${user.name} ${here}`));
  await watching.client.connect(['lobby']);
  await waitFor('live', () => watching.client.state.phase === 'live');
  const other = await Person.logIn(person.url);
  const ears = hear(other, { carriers: ['sse'] });
  await ears.client.connect(['lobby']);
  const until = performance.now() + 6000;
  for (let i = 0; performance.now() < until; i++) {
    await person.post(`m${i}`);
    await pause(100);
  }
  expect(comings.filter((coming) => coming.startsWith(other.user.name))).toEqual([`${other.user.name} true`]);
  expect(ears.states.filter(({ phase }) => phase !== 'live' && phase !== 'connecting')).toEqual([]);
});

test('nobody’s post is sent as somebody else’s', async () => {
  const { person, proxy, inside } = await serveBehind([]);
  const bob = await Person.logIn(person.url, 'Bob');
  let who = inside;
  const ears = hear(inside, {
    fetch: (input, init) => fetch(input, { ...init, headers: { ...init?.headers, Cookie: who.cookie } }),
  });
  await ears.client.connect(['lobby']);
  await waitFor('live', () => ears.client.state.phase === 'live');
  proxy.rules = [{ on: ({ path }) => path.endsWith('/messages'), answer: { status: 503, html: 'no' } }];
  ears.client.post('lobby', 'from Ada');
  await waitFor('a try', () => (proxy.asked.get('POST /api/rooms/lobby/messages') ?? 0) > 0);
  who = bob.at(proxy.url);
  proxy.rules = [];
  await pause(3000);
  expect((await person.history()).events).toEqual([]);
  expect(ears.client.pending()).toHaveLength(1);
  await ears.client.whoAmI();
  await ears.client.connect(['lobby']);
  expect(ears.client.user?.name).toBe('Bob');
  ears.client.post('lobby', 'from Bob');
  await waitFor('his', () => ears.texts().includes('from Bob'));
  expect((await person.history()).events).toMatchObject([{ text: 'from Bob', user: { name: 'Bob' } }]);
});

test('who logs in again after a log-out goes on where they were', async () => {
  const { person } = await serve();
  let { cookie } = person;
  const ears = hear(person, {
    fetch: (input, init) => fetch(input, { ...init, headers: { ...init?.headers, Cookie: cookie } }),
  });
  await ears.client.connect(['lobby']);
  await waitFor('live', () => ears.client.state.phase === 'live');
  await person.send('/api/session/end', {});
  await waitFor('the end', () => ears.client.state.phase === 'offline');
  const again = await Person.logIn(person.url);
  cookie = again.cookie;
  await ears.client.connect(['lobby']);
  await again.post('hello again');
  await waitFor('the message', () => ears.texts().includes('hello again'));
});

test('a gateway’s JSON error is no word of the service', async () => {
  const { person, proxy, inside } = await serveBehind([]);
  const ears = hear(inside);
  await ears.client.connect(['lobby']);
  await waitFor('live', () => ears.client.state.phase === 'live');
  proxy.rules = [
    { answer: { status: 403, html: '{"error":{"code":"Forbidden","message":"no"}}' } },
    { cut: { afterMs: 0, how: 'torn' } },
  ];
  await waitFor('offline', () => ears.client.state.phase === 'offline');
  expect(ears.client.state).toMatchObject({ reason: 'blocked', nextTryAt: expect.any(Number) });
  proxy.rules = [];
  ears.client.wake('online');
  await person.post('back');
  await waitFor('the message', () => ears.messages.length > 0);
});

test('a browser that denies sockets costs a rung, not the client', async () => {
  const { person } = await serve();
  class Denied {
    constructor() {
      throw new Error('denied');
    }
  }
  const ears = hear(person, {
    carriers: ['websocket', 'long-poll'],
    WebSocket: Denied as unknown as NonNullable<ClientOptions['WebSocket']>,
  });
  await ears.client.connect(['lobby']);
  await waitFor('long-poll', () => carrierOf(ears) === 'long-poll');
  await person.post('hello');
  await waitFor('the message', () => ears.messages.length > 0);
});

test('a clock that is set back delays nothing', async () => {
  const { person, proxy, inside } = await serveBehind([]);
  const ears = hear(inside, { carriers: ['sse', 'long-poll'] });
  await ears.client.connect(['lobby']);
  await waitFor('live', () => ears.client.state.phase === 'live');
  const now = vi
    .spyOn(Date, 'now')
    .mockImplementation(() => performance.timeOrigin + performance.now() - 3_600_000);
  cleanUps.push(() => now.mockRestore());
  proxy.rules = [{ on: isEventStream, blackHoleAfterMs: 0 }];
  await person.post('into the dark');
  await waitFor('the message', () => ears.messages.length > 0);
});

test('a post to a room that isn’t followed says nothing of the carrier', async () => {
  const { person } = await serve();
  await person.send('/api/rooms', { room: 'den' });
  const ears = hear(person);
  await ears.client.connect(['lobby']);
  await waitFor('SSE', () => carrierOf(ears) === 'sse');
  ears.client.post('den', 'hello');
  await waitFor('it sent', () => ears.client.pending().length === 0);
  await pause(3500);
  expect(carrierOf(ears)).toBe('sse');
});

test('closed in the middle of connecting, it says so and leaves nothing behind', async () => {
  const { inside } = await serveBehind([{ answer: { status: 502, html: '<p>Bad gateway' } }]);
  const ears = hear(inside);
  const connected = ears.client.connect(['lobby']);
  await waitFor('a word', () => ears.states.length > 0);
  ears.client.close();
  await expect(connected).rejects.toMatchObject({ code: 'closed' });
  await expect(ears.client.connect(['lobby'])).rejects.toMatchObject({ code: 'closed' });
});

describe('through a network that changes', () => {
  const held: Rule = { on: isEventStream, hold: 'answer' };
  const everyStreamHeld: Rule[] = [
    { on: isStream, hold: 'answer' },
    { on: ({ isUpgrade }) => isUpgrade, upgrades: 'refuse' },
  ];

  test.each<[string, Rule[], string, number]>([
    ['lets everything pass', [], 'sse', 0],
    ['holds event streams', [held], 'post-stream', 0],
    ['holds streams', [{ on: isStream, hold: 'answer' }], 'websocket', 0],
    ['holds streams and refuses upgrades', everyStreamHeld, 'long-poll', 0],
    [
      'holds streams, refuses upgrades, and cuts what takes long',
      [...everyStreamHeld, { on: isPoll, cut: { afterMs: 1500, how: 'torn' } }],
      'short-poll',
      1800,
    ],
  ])(
    'one that %s ends up on its rung, with nothing lost, doubled or late meanwhile',
    async (_, rules, rung, pauseMs) => {
      const { person, inside } = await serveBehind(rules);
      const ears = hear(inside);
      await ears.client.connect(['lobby']);
      const said: string[] = [];
      const late: number[] = [];
      const until = performance.now() + 25_000;
      for (let i = 0; carrierOf(ears) !== rung || i < 5; i++) {
        expect(performance.now(), `to end on ${rung}, not ${carrierOf(ears)}`).toBeLessThan(until);
        const sentAt = performance.now();
        said.push(`m${i}`);
        await person.post(`m${i}`);
        await waitFor(`m${i}`, () => ears.messages.length > i);
        late.push(performance.now() - sentAt);
        await pause(pauseMs);
      }
      expect(ears.texts()).toEqual(said);
      expect(late[0]).toBeLessThan(1200);
      expect(Math.max(...late)).toBeLessThan(3000);
    },
  );

  test('a stream that begins to be held is left in mid-session, and taken up again when the network changes', async () => {
    const { person, proxy, inside } = await serveBehind([]);
    const ears = hear(inside, { carriers: ['sse', 'long-poll'] });
    await ears.client.connect(['lobby']);
    await waitFor('SSE', () => carrierOf(ears) === 'sse');
    proxy.rules = [
      { on: isEventStream, hold: 'writes' },
      { on: isEventStream, blackHoleAfterMs: 0 },
    ];
    const sentAt = performance.now();
    await person.post('into the dark');
    await waitFor('the message', () => ears.messages.length === 1);
    expect(performance.now() - sentAt).toBeLessThan(2.5 * 2000 + 3000);
    await waitFor('long-poll', () => carrierOf(ears) === 'long-poll');
    proxy.rules = [];
    ears.client.wake('online');
    await waitFor('SSE again', () => carrierOf(ears) === 'sse');
    await person.post('in the light');
    await waitFor('both', () => ears.messages.length === 2);
    expect(ears.texts()).toEqual(['into the dark', 'in the light']);
  });

  test('an own post that the stream doesn’t bring comes by a poll, within three seconds', async () => {
    const { proxy, inside } = await serveBehind([]);
    const ears = hear(inside, { carriers: ['sse', 'long-poll'], heartbeatMs: 15_000 });
    await ears.client.connect(['lobby']);
    await waitFor('SSE', () => carrierOf(ears) === 'sse');
    proxy.rules = [{ on: isEventStream, blackHoleAfterMs: 0 }];
    const sentAt = performance.now();
    ears.client.post('lobby', 'hello?');
    await waitFor('the message', () => ears.messages.length === 1);
    expect(performance.now() - sentAt).toBeLessThan(3000);
  });

  test('the whole ladder, up and down at random, tells everything once and in order', async () => {
    const { person, proxy, inside } = await serveBehind([]);
    const store = memoryStore();
    const ears = hear(inside, { outbox: store });
    await ears.client.connect(['lobby']);
    const moods: Rule[][] = [
      [],
      [held],
      everyStreamHeld,
      [{ on: isStream, cut: { afterMs: 700, how: 'broken-chunk' } }],
      [{ cut: { afterMs: 900, how: 'torn' } }],
      [{ answer: { status: 503, html: 'no' } }],
      [{ blackHoleAfterMs: 300 }],
      [{ on: isStream, hold: 'writes' }],
      [{ on: isPoll, repeat: { everyMs: 400, times: 3 } }],
    ];
    const said: string[] = [];
    for (let i = 0; i < 60; i++) {
      if (i % 5 === 0) {
        proxy.rules = moods[Math.floor(Math.random() * moods.length)] as Rule[];
        if (i % 2) ears.client.wake('online');
      }
      said.push(`m${i}`);
      await person.post(`m${i}`);
      await pause(200 * Math.random());
    }
    proxy.rules = [];
    ears.client.wake('online');
    await waitFor('all', () => ears.messages.length >= 60, 20_000);
    expect(ears.texts()).toEqual(said);
  });
});
