import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { type AddressInfo, connect, createServer } from 'node:net';
import { join } from 'node:path';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { compareIds, type StreamId } from '../src/chat/ids.ts';
import { Refusal } from '../src/chat/refusals.ts';
import type { RoomKey } from '../src/chat/rooms.ts';
import { MAIN_SITE } from '../src/chat/sites.ts';
import type { Config } from '../src/config.ts';
import { Window } from '../src/delivery/window.ts';
import { type Authority, sessionlessIdentity, type Ticket, userKeyOf } from '../src/http/authority.ts';
import { confirmStream } from '../src/http/confirm.ts';
import type { Shard } from '../src/http/service.ts';
import { Keys } from '../src/log/keys.ts';
import { Leases } from '../src/log/leases.ts';
import { Pace } from '../src/log/pace.ts';
import { Presence } from '../src/log/presence.ts';
import type { RunningServer } from '../src/server.ts';
import { carriers, type Follower } from './support/carriers.ts';
import { startTestRedis, type TestRedis } from './support/redis.ts';
import { Person, startTestServer, testConfig, type WireEvent } from './support/service.ts';
import { waitFor } from './support/wait-for.ts';

const LEASE_MS = 2500;
const ROOT = join(import.meta.dirname, '..');

let redis: TestRedis;
const running: RunningServer[] = [];
const followers: Follower[] = [];
const cleanUps: (() => Promise<void>)[] = [];
beforeAll(async () => {
  redis = await startTestRedis();
});
afterAll(async () => {
  await Promise.all(followers.map((follower) => follower.cut()));
  await Promise.all(running.map((server) => server.close()));
  for (const cleanUp of cleanUps) await cleanUp();
  await redis.stop();
});

async function serve(overrides: Partial<Config> = {}, processes = 1) {
  const config = testConfig(redis, { leaseMs: LEASE_MS, heartbeatMs: 300, ...overrides });
  const servers: RunningServer[] = [];
  for (let i = 0; i < processes; i++) servers.push(await startTestServer(config));
  running.push(...servers);
  const urls = servers.map(({ url }) => url);
  const url = urls[0] as string;
  const watcher = await watch(await Person.logIn(urls.at(-1) as string));
  return { config, servers, urls, url, ...watcher };
}

/** Somebody who watches a room by a stream that they don't confirm, so that they aren't here themselves. */
async function watch(watching: Person, room = 'lobby') {
  const follower = follow('SSE by GET', watching, room, (await watching.history('', room)).cursor);
  await waitFor('hello', () => follower.all.length > 0);
  const comings = () => follower.all.filter(({ kind }) => kind === 'presence');
  /** What was told of a person: `+` came, `-` is gone. */
  const told = ({ user }: Person) =>
    comings()
      .filter((event) => (event['user'] as { id: string }).id === user.id)
      .map(({ here }) => (here ? '+' : '-'))
      .join('');
  return { watching, comings, told };
}

function follow(carrier: string, person: Person, room: string, after?: string): Follower {
  const found = carriers.find(({ name }) => name === carrier);
  if (found === undefined) throw new Error(`no carrier ${carrier}`);
  const follower = found.follow(person, [room], after);
  followers.push(follower);
  return follower;
}

/** Keeps somebody here as a client does: confirms now, and then every third of a lease. */
function confirming(person: Person, rooms: unknown = ['lobby']): () => void {
  const confirm = () => void person.send('/api/confirm', { rooms }).catch(() => {});
  confirm();
  const timer = setInterval(confirm, LEASE_MS / 3);
  return () => clearInterval(timer);
}

async function people(person: Person, room = 'lobby') {
  const res = await person.get(`/api/rooms/${room}/people`);
  return (await res.json()) as {
    people: { id: string; name: string; guest: boolean }[];
    count: number;
    cursor: string;
  };
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** All that Redis holds of presence in a namespace. */
async function traces(namespace: string): Promise<string[]> {
  return (await redis.client.keys(`${namespace}:*`)).filter((key) =>
    /:(presence|here|presence-due|whereabouts)(:|$)/.test(key),
  );
}

// Mostly they wait for leases to end.
describe.concurrent('who is here', () => {
  test.each(['long-poll', 'long-poll by POST, dripping', 'short poll'])(
    'is whoever polls, by %s: told once when they come and once when they are gone',
    async (carrier) => {
      const { url, told, watching } = await serve();
      const person = await Person.logIn(url);
      const follower = follow(carrier, person, 'lobby');
      await waitFor('the coming', () => told(person) !== '');
      await pause(LEASE_MS * 2);
      expect(told(person)).toBe('+');
      expect(await people(watching)).toMatchObject({ count: 1, people: [person.user] });
      await follower.cut();
      await waitFor('the going', () => told(person) === '+-');
      expect(await people(watching)).toMatchObject({ count: 0, people: [] });
    },
  );

  test.each([
    ['a list', ['lobby']],
    ['a text', 'lobby'],
  ])('is whoever confirms a stream, their rooms as %s', async (_form, rooms) => {
    const { url, told } = await serve();
    const person = await Person.logIn(url);
    const stop = confirming(person, rooms);
    await waitFor('the coming', () => told(person) === '+');
    await pause(LEASE_MS * 1.5);
    expect(told(person)).toBe('+');
    stop();
    await waitFor('the going', () => told(person) === '+-');
  });

  test('isn’t who only has a stream or a socket open', async () => {
    const { url, watching, comings } = await serve();
    const person = await Person.logIn(url);
    for (const carrier of ['SSE by GET', 'WebSocket']) {
      const follower = follow(carrier, person, 'lobby');
      await waitFor('hello', () => follower.all.length > 0);
    }
    await person.send('/api/confirm', {});
    await pause(300);
    expect(comings()).toEqual([]);
    expect(await people(watching)).toMatchObject({ count: 0, people: [] });
  });

  test('is told once, however many tabs, carriers and processes somebody is here by', async () => {
    const { urls, told } = await serve({}, 2);
    const person = await Person.logIn(urls[0] as string);
    const elsewhere = person.at(urls[1] as string);
    const stops = [confirming(person), confirming(elsewhere), confirming(elsewhere, 'lobby')];
    const polls = [follow('long-poll', person, 'lobby'), follow('short poll', elsewhere, 'lobby')];
    await pause(LEASE_MS * 1.5);
    expect(told(person)).toBe('+');
    for (const stop of stops) stop();
    await polls[0]?.cut();
    await pause(LEASE_MS * 1.5);
    expect(told(person)).toBe('+');
    await polls[1]?.cut();
    await waitFor('the going', () => told(person) === '+-');
    await pause(1500);
    expect(told(person)).toBe('+-');
  });

  test('doesn’t change when somebody reloads, changes carrier or process, or the service is started again', async () => {
    // A stop and a start must fit into what is left of a lease, on a busy machine as well.
    const leaseMs = 4000;
    const { config, urls, servers, told } = await serve({ leaseMs }, 3);
    const person = await Person.logIn(urls[0] as string);
    confirming(person)();
    await waitFor('the coming', () => told(person) === '+');
    for (const url of [urls[1], urls[0], urls[1]]) {
      await pause(leaseMs / 2);
      const follower = follow('long-poll', person.at(url as string), 'lobby');
      await pause(leaseMs / 4);
      await follower.cut();
      confirming(person.at(url as string))();
    }
    await (servers[0] as RunningServer).close();
    const again = await startTestServer(config);
    running.push(again);
    await person.at(again.url).send('/api/confirm', { rooms: 'lobby' });
    await pause(leaseMs / 2);
    expect(told(person)).toBe('+');
  });

  test('is told as an entry without prev and n, in each room by itself, with the same JSON on every carrier', async () => {
    const { url, watching, comings } = await serve({ leaseMs: 20_000 });
    await watching.send('/api/rooms', { room: 'other' });
    const { cursor } = await watching.history();
    const person = await Person.logIn(url);
    const all = carriers.map(({ name }) => follow(name, watching, 'lobby', cursor));
    await person.send('/api/confirm', { rooms: ['lobby', 'other', 'nowhere'] });
    const isTheirs = ({ kind, user }: WireEvent) =>
      kind === 'presence' && (user as { id: string }).id === person.user.id;
    const event = await waitFor('the coming', () => comings().find(isTheirs));
    expect(event).toEqual({
      kind: 'presence',
      room: 'lobby',
      id: expect.stringMatching(/^\d+-\d+$/),
      at: expect.any(Number),
      user: { ...person.user, guest: true },
      here: true,
    });
    for (const follower of all) {
      expect(await waitFor('it there', () => follower.all.find(isTheirs))).toEqual(event);
      await follower.cut();
    }
    expect((await people(watching, 'other')).people).toEqual([{ ...person.user, guest: true }]);
    expect((await watching.get('/api/rooms/nowhere/people')).status).toBe(404);
  });

  test('ends at once with a log-out, which is told once, and with the rooms that are left', async () => {
    const { url, urls, told, watching } = await serve({ leaseMs: 20_000 }, 2);
    const [leaving, loggingOut] = [await Person.logIn(url), await Person.logIn(url)];
    for (const person of [leaving, loggingOut]) await person.send('/api/confirm', { rooms: 'lobby' });
    await waitFor('both', () => told(leaving) + told(loggingOut) === '++');
    expect((await leaving.send('/api/rooms/lobby/leave', {})).status).toBe(200);
    expect((await loggingOut.send('/api/session/end', {})).status).toBe(204);
    await waitFor('both gone', () => told(leaving) + told(loggingOut) === '+-+-', 1000);
    expect(await people(watching)).toMatchObject({ count: 0, people: [] });
    // Whoever left may come back, at once and by either process, though both have just renewed them.
    await leaving.at(urls[1] as string).send('/api/confirm', { rooms: 'lobby' });
    await waitFor('the coming back', () => told(leaving) === '+-+', 1000);
    await leaving.send('/api/rooms/lobby/leave', {});
    await waitFor('the second leaving', () => told(leaving) === '+-+-', 1000);
    await leaving.at(urls[1] as string).send('/api/confirm', { rooms: 'lobby' });
    await waitFor('the next coming back', () => told(leaving) === '+-+-+', 1000);
  });

  test('ends when another log-in takes the place of a session', async () => {
    const { url, told } = await serve({ leaseMs: 20_000 });
    const person = await Person.logIn(url);
    await person.send('/api/confirm', { rooms: 'lobby' });
    await waitFor('the coming', () => told(person) === '+');
    expect((await person.send('/api/session', { name: `${person.user.name}2` })).status).toBe(201);
    await waitFor('the going', () => told(person) === '+-', 1000);
  });
});

/** The service as a process of its own, over a port that leads to the test's Redis. */
async function spawnService(config: Config) {
  await mkdir(join(ROOT, 'node_modules/.cache'), { recursive: true });
  const folder = await mkdtemp(join(ROOT, 'node_modules/.cache/tl-presence-'));
  const outfile = join(folder, 'main.mjs');
  await build({
    entryPoints: [join(ROOT, 'src/main.ts')],
    bundle: true,
    platform: 'node',
    format: 'esm',
    packages: 'external',
    outfile,
  });
  const bridge = createServer((socket) => {
    const toRedis = connect(redis.path);
    for (const end of [socket, toRedis]) end.on('error', () => {});
    socket.pipe(toRedis).pipe(socket);
  }).listen(0, '127.0.0.1');
  await once(bridge, 'listening');
  const child = spawn(process.execPath, [outfile], {
    env: {
      PATH: process.env['PATH'],
      HOST: '127.0.0.1',
      PORT: '0',
      REDIS_URL: `redis://127.0.0.1:${(bridge.address() as AddressInfo).port}`,
      NAMESPACE: config.namespace,
      LEASE_MS: String(config.leaseMs),
      LOG_LEVEL: 'silent',
    },
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const exit = once(child, 'exit');
  const kill = async () => {
    child.kill('SIGKILL');
    await exit;
  };
  cleanUps.push(async () => {
    await kill();
    bridge.close();
    await rm(folder, { recursive: true, force: true });
  });
  let out = '';
  child.stdout.on('data', (bytes) => {
    out += bytes;
  });
  const url = await waitFor('the service', () => /http:\/\/[\w.:]+/.exec(out)?.[0], 15_000);
  return { url, kill, suspend: () => child.kill('SIGSTOP'), resume: () => child.kill('SIGCONT') };
}

test.concurrent('people whose process is killed are told gone once when their leases end, by any other, and leave nothing in Redis', async () => {
  const { config, told } = await serve({}, 2);
  const doomed = await spawnService(config);
  const polling = await Promise.all([1, 2, 3].map(() => Person.logIn(doomed.url)));
  const polls = polling.map((person) => follow('long-poll', person, 'lobby'));
  const confirming = await Person.logIn(doomed.url);
  await confirming.send('/api/confirm', { rooms: 'lobby' });
  const all = [...polling, confirming];
  await waitFor('all', () => all.every((person) => told(person) === '+'));
  await doomed.kill();
  await Promise.all(polls.map((poll) => poll.cut()));
  await waitFor('all gone', () => all.every((person) => told(person) === '+-'), LEASE_MS + 3000);
  await pause(1500);
  expect(all.map(told)).toEqual(all.map(() => '+-'));
  await waitFor('no trace', async () => (await traces(config.namespace)).length === 0);
});

/** The comings (`+`) and goings (`-`) in a namespace's journal. */
async function journalled(namespace: string): Promise<string> {
  const entries = await redis.client.xrange(`${namespace}:{0}:journal`, '-', '+');
  return entries
    .filter(([, fields]) => fields.includes('presence'))
    .map(([, fields]) => ((JSON.parse(fields.at(-1) as string) as { here: boolean }).here ? '+' : '-'))
    .join('');
}

test.concurrent('a process that was suspended for longer than a lease doesn’t tell its people gone before they can renew', async () => {
  const config = testConfig(redis, { leaseMs: 4000 });
  const { url, suspend, resume } = await spawnService(config);
  const person = await Person.logIn(url);
  await person.send('/api/confirm', { rooms: 'lobby' });
  // Past the time that it waits for after its start.
  await pause(config.leaseMs / 2);
  await person.send('/api/confirm', { rooms: 'lobby' });
  suspend();
  await pause(config.leaseMs + 2000);
  resume();
  await pause(1000);
  await person.send('/api/confirm', { rooms: 'lobby' });
  await pause(config.leaseMs / 2);
  expect(await journalled(config.namespace)).toBe('+');
}, 60_000);

test.concurrent('who goes silently is told gone when the lease ends, whoever else stays there', async () => {
  const { url, told } = await serve();
  const [ada, bob] = await Promise.all([Person.logIn(url), Person.logIn(url)]);
  const stops = [ada, bob].map((person) => confirming(person));
  await waitFor('both', () => told(ada) === '+' && told(bob) === '+');
  stops[0]?.();
  const start = performance.now();
  await waitFor('one gone', () => told(ada) === '+-', LEASE_MS + 2500);
  expect(performance.now() - start).toBeGreaterThan(LEASE_MS / 3);
  expect(told(bob)).toBe('+');
  stops[1]?.();
});

test('in a Redis that is full nobody is renewed, and what it says is told as it is', async () => {
  const own = await startTestRedis();
  try {
    const { keys, open, room, user, userKey } = bare(100, own);
    await own.client.hset(keys.room(room), 'title', 'Lobby');
    await open().renew([room], userKey, user);
    const lease = await own.client.zscore(keys.presence(room), userKey);
    await own.client.config('SET', 'maxmemory', '1');
    await expect(open().renew([room], userKey, user)).rejects.toThrow(/^OOM/);
    expect(await own.client.zscore(keys.presence(room), userKey)).toBe(lease);
  } finally {
    await own.stop();
  }
});

test.concurrent('comings and goings are paced, so that nobody can fill the journal with them', async () => {
  const { config, url, watching } = await serve({ leaseMs: 20_000 });
  const person = await Person.logIn(url);
  const statuses = new Set<number>();
  for (let i = 0; i < 150 && !statuses.has(429); i++) {
    statuses.add((await person.send('/api/confirm', { rooms: 'lobby' })).status);
    const res = await person.send('/api/rooms/lobby/leave', {});
    statuses.add(res.status);
    if (res.status === 429) expect(await res.json()).toMatchObject({ error: { code: 'too_fast' } });
  }
  expect([...statuses].sort()).toEqual([200, 204, 429]);
  const told = (await journalled(config.namespace)).length;
  expect(told).toBeLessThan(220);
  // Whoever only stays isn't counted.
  const other = await Person.logIn(url);
  for (let i = 0; i < 10; i++)
    expect((await other.send('/api/confirm', { rooms: 'lobby' })).status).toBe(204);
  expect((await people(watching)).people).toContainEqual({ ...other.user, guest: true });
});

/** Presence in a namespace of its own, without a service. */
function bare(presenceListed = 100, on = redis) {
  const keys = new Keys(testConfig(on).namespace);
  const pace = new Pace(on.client, keys.presencePacePrefix, { burst: 1000, perSecond: 1000 });
  const open = () =>
    new Presence(on.client, keys, pace, { leaseMs: 20_000, presenceListed, journalEntries: 1000 });
  const room = 'main/lobby' as RoomKey;
  const user = { id: 'u', name: 'U', guest: true };
  return { keys, open, room, user, userKey: userKeyOf(MAIN_SITE, user) };
}

test.concurrent('a confirmation that a log-out overtakes leaves nobody behind', async () => {
  const { keys, open, room, user, userKey } = bare();
  await redis.client.hset(keys.room(room), 'title', 'Lobby');
  const presence = open();
  const identity = sessionlessIdentity(MAIN_SITE, user);
  let isKnown = true;
  const authority = {
    isTicketLasting: true,
    identify: async () => {
      if (!isKnown) throw new Refusal('no_session', 'none');
      // It ends right after it was asked for, which drops presence before this confirmation renews it.
      isKnown = false;
      await presence.drop(userKey);
      return identity;
    },
    renew: async () => {},
  } as Partial<Authority> as Authority;
  const leases = new Leases(redis.client, keys, 20_000);
  const confirmed = confirmStream(
    { authority, leases, shardOf: () => ({ presence }) as Shard },
    {} as Ticket,
    {
      rooms: ['lobby' as never],
    },
  );
  await expect(confirmed).rejects.toMatchObject({ code: 'no_session' });
  expect(await presence.list(room)).toMatchObject({ count: 0, people: [] });
});

test.concurrent('a confirmation that a log-out overtakes renews nothing, even where there is nothing to write of presence', async () => {
  const { keys, open, user } = bare();
  const presence = open();
  let asked = 0;
  let renewed = 0;
  const authority = {
    isTicketLasting: true,
    identify: async () => {
      if (asked++ > 0) throw new Refusal('no_session', 'none');
      return sessionlessIdentity(MAIN_SITE, user);
    },
    renew: async () => void renewed++,
  } as Partial<Authority> as Authority;
  const leases = new Leases(redis.client, keys, 20_000);
  const service = { authority, leases, shardOf: () => ({ presence }) as Shard };
  const confirmed = confirmStream(service, {} as Ticket, { nonce: 'n', rooms: [] });
  await expect(confirmed).rejects.toMatchObject({ code: 'no_session' });
  expect(renewed).toBe(0);
});

test.concurrent('in a crowd, somebody whom another process took out is soon here again by renewing', async () => {
  const { keys, open, room, user, userKey } = bare(1);
  await redis.client.hset(keys.room(room), 'title', 'Lobby');
  const [here, elsewhere] = [open(), open()];
  for (const id of ['a', 'b', 'c']) await elsewhere.renew([room], `main/${id}`, { ...user, id });
  await here.renew([room], userKey, user);
  await elsewhere.drop(userKey, [room]);
  // What is told in a small room isn't told here; a twentieth of a lease is how long it may go unnoticed.
  await pause(1100);
  await here.renew([room], userKey, user);
  expect(await here.list(room)).toMatchObject({ count: 4 });
});

test.concurrent('with no process left, all that Redis holds of presence expires', async () => {
  const { config, servers, url } = await serve();
  const person = await Person.logIn(url);
  await person.send('/api/confirm', { rooms: 'lobby' });
  await (servers[0] as RunningServer).close();
  const keys = await traces(config.namespace);
  expect(keys).toHaveLength(4);
  for (const key of keys) expect(await redis.client.pttl(key)).toBeGreaterThan(LEASE_MS);
  await waitFor('no trace', async () => (await traces(config.namespace)).length === 0, 12_000);
});

test.concurrent('in a room with more people than are listed, comings and goings aren’t told but for the first and the last, and the count is right', async () => {
  const { url, comings, watching } = await serve({ presenceListed: 3, leaseMs: 20_000 });
  const crowd = await Promise.all(Array.from({ length: 6 }, () => Person.logIn(url)));
  for (const person of crowd) await person.send('/api/confirm', { rooms: 'lobby' });
  const listed = await people(watching);
  expect(listed).toMatchObject({ count: 6, listed: 3 });
  expect(listed.people).toHaveLength(3);
  for (const person of crowd.slice(0, 3)) await person.send('/api/session/end', {});
  expect((await people(watching)).count).toBe(3);
  await crowd[3]?.send('/api/session/end', {});
  await waitFor('the last', () => comings().length >= 6);
  await pause(200);
  expect(comings().map(({ user, here }) => [(user as { id: string }).id, here])).toEqual([
    // The one that makes a crowd, and the one that ends it, are told as well: whoever hears of them knows to ask anew.
    ...crowd.slice(0, 4).map(({ user }) => [user.id, true]),
    [crowd[2]?.user.id, false],
    [crowd[3]?.user.id, false],
  ]);
});

test.concurrent('a list of people and what is told after its cursor make the list of any later moment', async () => {
  const { url, watching } = await serve({ leaseMs: 20_000 });
  const crowd = await Promise.all(Array.from({ length: 12 }, () => Person.logIn(url)));
  const churn = Promise.all(
    crowd.map(async (person, i) => {
      for (let k = 0; k <= i % 4; k++) {
        await person.send('/api/confirm', { rooms: 'lobby' });
        if (k < i % 4 || i % 3 === 0) await person.send('/api/rooms/lobby/leave', {});
      }
    }),
  );
  const lists: Awaited<ReturnType<typeof people>>[] = [];
  let isOver = false;
  void churn.then(() => {
    isOver = true;
  });
  while (!isOver) lists.push(await people(watching));
  const last = await people(watching);
  const ids = (list: { id: string }[]) => list.map(({ id }) => id).sort();
  const first = lists[0] as (typeof lists)[number];
  const follower = follow('SSE by GET', watching, 'lobby', first.cursor);
  const idOf = (cursor: string) => cursor.split('.')[1] as StreamId;
  await waitFor('all told', () => {
    const newest = follower.all.filter(({ kind }) => kind === 'presence').at(-1)?.id ?? idOf(first.cursor);
    return compareIds(newest as StreamId, idOf(last.cursor)) >= 0;
  });
  for (const { people: start, cursor } of lists) {
    const here = new Set(ids(start));
    for (const event of follower.all) {
      if (event.kind !== 'presence' || compareIds(event.id as StreamId, idOf(cursor)) <= 0) continue;
      const { id } = event['user'] as { id: string };
      if (event['here']) here.add(id);
      else here.delete(id);
    }
    expect([...here].sort()).toEqual(ids(last.people));
  }
});

test.concurrent('a presence older than half a minute isn’t told by a process that starts, a younger one is', async () => {
  const { config, watching, url } = await serve({ leaseMs: 60_000 });
  const { cursor } = await watching.history();
  const journal = `${config.namespace}:{0}:journal`;
  const old = `${Date.now() - 40_000}-0`;
  const [epoch] = cursor.split('.');
  await redis.client.del(journal);
  const before = '0-0';
  await redis.client.xadd(
    journal,
    old,
    'to',
    'room:main/lobby',
    'kind',
    'presence',
    'before',
    before,
    'data',
    JSON.stringify({ user: { id: 'old', name: 'Old', guest: true }, here: true }),
  );
  const person = await Person.logIn(url);
  await person.send('/api/confirm', { rooms: 'lobby' });
  await person.post('hello');
  const late = await startTestServer(config);
  running.push(late);
  for (const carrier of carriers) {
    const follower = follow(carrier.name, watching.at(late.url), 'lobby', `${epoch}.0-0`);
    await waitFor('the message', () => follower.texts.length === 1);
    const told = follower.all.filter(({ kind }) => kind === 'presence');
    expect(told.map((event) => (event['user'] as { id: string }).id)).toContain(person.user.id);
    expect(told.map((event) => (event['user'] as { id: string }).id)).not.toContain('old');
    await follower.cut();
  }
});

test('a reader who comes late is told neither what went stale in the window nor a run that went stale', () => {
  vi.useFakeTimers({ toFake: ['performance', 'Date'] });
  try {
    const window = new Window({ windowEntries: 100, windowBytes: 1e6 });
    const room = 'main/lobby' as RoomKey;
    const id = (seq: number) => `${Date.now()}-${seq}` as StreamId;
    window.refill({ epoch: 'e', start: id(0), last: id(0), entries: [] });
    const from = window.position;
    const entry = (seq: number, kind: string, n: number) => {
      const ids = { id: id(seq), prev: id(seq - 1), before: id(seq - 1) };
      window.push({ ...ids, kind, n, to: `room:${room}`, data: '{"user":{}}' });
    };
    entry(1, 'presence', 0);
    entry(2, 'message', 1);
    entry(3, 'presence', 0);
    const read = () => window.read(from, [room], 65536);
    const kinds = () => read().run.frames.map(({ kind }) => kind);
    const whole = read();
    expect(kinds()).toEqual(['presence', 'message', 'presence']);
    vi.advanceTimersByTime(29_000);
    expect(read().run).toBe(whole.run);
    vi.advanceTimersByTime(2000);
    expect(kinds()).toEqual(['message']);
    expect([read().position, read().run.end]).toEqual([whole.position, whole.run.end]);
    expect(window.read(from, [room, 'main/other' as RoomKey], 65536).run.frames).toHaveLength(1);
  } finally {
    vi.useRealTimers();
  }
});

test('rooms that can’t be ones, and confirmations without a session, are refused', async () => {
  const { url, watching } = await serve();
  for (const rooms of [['a/b'], '../x', 7, [7], { a: 1 }])
    expect((await watching.send('/api/confirm', { rooms })).status).toBe(400);
  const headers = { 'Content-Type': 'application/json' };
  const body = JSON.stringify({ rooms: ['lobby'] });
  expect((await fetch(`${url}/api/confirm`, { method: 'POST', headers, body })).status).toBe(401);
  expect((await fetch(`${url}/api/rooms/lobby/people`)).status).toBe(401);
  for (const rooms of [[], '']) expect((await watching.send('/api/confirm', { rooms })).status).toBe(204);
});

test('what isn’t of presence under its keys fails neither a poll nor another room', async () => {
  const { config, watching, url } = await serve();
  await watching.send('/api/rooms', { room: 'sound' });
  await redis.client.set(`${config.namespace}:{0}:presence:main/lobby`, 'x');
  const person = await Person.logIn(url);
  expect((await person.get('/api/poll?rooms=lobby&wait=0')).status).toBe(200);
  expect((await person.send('/api/confirm', { rooms: 'lobby,sound' })).status).toBe(204);
  expect((await people(watching, 'sound')).count).toBe(1);
});
