import { setTimeout as pause } from 'node:timers/promises';
import type { Store } from 'express-session';
import { expect, test, vi } from 'vitest';
import { MAIN_SITE } from '../src/chat/sites.ts';
import { sessionAddress } from '../src/http/authority.ts';
import { SessionAuthority } from '../src/http/session-authority.ts';
import { SessionCache } from '../src/http/session-cache.ts';
import { startTestRedis } from './support/redis.ts';
import { Person, startTestServer, testConfig } from './support/service.ts';
import { waitFor } from './support/wait-for.ts';

/** A store whose answers are given by hand. */
function slowStore() {
  const asked: ((session: string | undefined) => void)[] = [];
  const read = () => new Promise<string | undefined>((resolve) => asked.push(resolve));
  return { asked, read };
}

test('a session that asks a lot is read once, and again a moment later where the journal isn’t heard', async () => {
  const { asked, read } = slowStore();
  const cache = new SessionCache(read, { unheardMs: 50, heardMs: 10_000, most: 10 });
  const both = Promise.all([cache.get('a', 's', true), cache.get('a', 's', false)]);
  asked[0]?.('ada');
  expect(await both).toEqual(['ada', 'ada']);
  expect(await cache.get('a', 's', true)).toBe('ada');
  expect(asked).toHaveLength(1);
  await pause(60);
  expect(await cache.get('a', 's', true)).toBe('ada');
  expect(asked).toHaveLength(1);
  void cache.get('a', 's', false);
  expect(asked).toHaveLength(2);
  // What was read for somebody who couldn't trust the older answer is there for all.
  asked[1]?.('bea');
  expect(await cache.get('a', 's', true)).toBe('bea');
});

test('also where the journal is heard a session is read again in the end', async () => {
  const { asked, read } = slowStore();
  const cache = new SessionCache(read, { unheardMs: 1, heardMs: 50, most: 10 });
  const first = cache.get('a', 's', true);
  asked[0]?.('ada');
  await first;
  await pause(60);
  void cache.get('a', 's', true);
  expect(asked).toHaveLength(2);
});

test('a user’s sessions are dropped, and those of which isn’t known yet whose they are', async () => {
  const { asked, read } = slowStore();
  const cache = new SessionCache(read, { unheardMs: 10_000, heardMs: 10_000, most: 10 });
  const [ada, bea] = [cache.get('a', 'a', true), cache.get('b', 'b', true)];
  asked[0]?.('ada');
  asked[1]?.('bea');
  await Promise.all([ada, bea]);
  const early = cache.get('c', 'c', true);
  cache.dropEach((session) => session === 'ada');
  void cache.get('b', 'b', true);
  expect(asked).toHaveLength(3);
  void cache.get('a', 'a', true);
  expect(asked).toHaveLength(4);
  // It turns out to be of the same user.
  asked[2]?.('ada');
  await pause(0);
  asked[4]?.('dora');
  expect(await early).toBe('dora');
});

test('what was read before a session ended is no longer true, nor what was being read then', async () => {
  const { asked, read } = slowStore();
  const cache = new SessionCache(read, { unheardMs: 10_000, heardMs: 10_000, most: 10 });
  const early = cache.get('a', 's', true);
  cache.drop('a');
  asked[0]?.('ada');
  await pause(0);
  asked[1]?.(undefined);
  expect(await early).toBeUndefined();
  const late = cache.get('a', 's', true);
  asked[2]?.(undefined);
  expect(await late).toBeUndefined();
});

test('whoever’s session is dropped twice while it is read is told what there is after both', async () => {
  const { asked, read } = slowStore();
  const cache = new SessionCache(read, { unheardMs: 10_000, heardMs: 10_000, most: 10 });
  const early = cache.get('a', 's', true);
  for (const at of [0, 1]) {
    cache.drop('a');
    asked[at]?.('ada');
    await pause(0);
  }
  asked[2]?.('bea');
  expect(await early).toBe('bea');
  expect(await cache.get('a', 's', true)).toBe('bea');
  expect(asked).toHaveLength(3);
});

test('everybody is told, though more are read at once than are kept', async () => {
  let reads = 0;
  const read = async (sid: string) => {
    reads++;
    await pause(5);
    return sid;
  };
  const cache = new SessionCache(read, { unheardMs: 10_000, heardMs: 10_000, most: 10 });
  const names = Array.from({ length: 30 }, (_, i) => `s${i}`);
  expect(await Promise.all(names.map((name) => cache.get(name, name, true)))).toEqual(names);
  expect(reads).toBe(30);
});

test('of what is being read only what is meant is read again, and nothing that ended is told', async () => {
  const { asked, read } = slowStore();
  const cache = new SessionCache(read, { unheardMs: 10_000, heardMs: 10_000, most: 10 });
  const [ada, bea] = [cache.get('a', 's', true), cache.get('b', 't', true)];
  cache.dropEach((session) => session === 'ada');
  asked[0]?.('ada');
  asked[1]?.('bea');
  expect(await bea).toBe('bea');
  await pause(0);
  asked[2]?.('ada, renamed');
  expect(await ada).toBe('ada, renamed');
  expect(await cache.get('b', 't', true)).toBe('bea');
  expect(asked).toHaveLength(3);
  const late = cache.get('c', 'u', true);
  cache.clear();
  asked[3]?.('cleo');
  await pause(0);
  asked[4]?.('cleo, since');
  expect(await late).toBe('cleo, since');
});

test('neither nobody nor a failure is kept, and no more is kept than may be', async () => {
  let answer: () => Promise<string | undefined> = async () => undefined;
  let reads = 0;
  const cache = new SessionCache(
    () => {
      reads++;
      return answer();
    },
    { unheardMs: 10_000, heardMs: 10_000, most: 3 },
  );
  expect(await cache.get('a', 's', true)).toBeUndefined();
  answer = () => Promise.reject(new Error('Redis is away'));
  await expect(cache.get('a', 's', true)).rejects.toThrow('Redis is away');
  answer = async () => 'ada';
  expect(await cache.get('a', 's', true)).toBe('ada');
  expect(reads).toBe(3);
  for (const name of ['b', 'c', 'd', 'e']) await cache.get(name, name, true);
  await cache.get('a', 's', true);
  expect(reads).toBe(8);
});

test('who confirms each 20 s is read for every sixth confirmation, and sooner where sessions are short', async () => {
  let reads = 0;
  const store = {
    get: (_sid: string, done: (error: unknown, session: unknown) => void) => {
      reads++;
      done(null, { user: { id: 'ada', name: 'Ada', guest: true } });
    },
  } as unknown as Store;
  let isHeard = true;
  const shard = { tail: { isReading: () => isHeard }, knownUsers: { read: async () => ({}) } };
  const authorityOf = (lifeMs: number) =>
    new SessionAuthority(
      store,
      'secret',
      lifeMs,
      { known: () => ({ guests: 'allowed' }) } as never,
      () => shard as never,
    );
  const ticket = { site: MAIN_SITE, sid: 's', addresses: [sessionAddress('s')] };
  const now = vi.spyOn(performance, 'now');
  try {
    for (const [lifeMs, expected] of [
      [86_400_000, 2],
      // Nobody says that one ran out: it is believed for half its life.
      [40_000, 7],
    ] as const) {
      reads = 0;
      const authority = authorityOf(lifeMs);
      for (let seconds = 0; seconds <= 120; seconds += 20) {
        now.mockReturnValue(1000 * seconds);
        await authority.identify(ticket);
      }
      expect(reads).toBe(expected);
    }
    isHeard = false;
    for (const [lifeMs, believedMs] of [
      [86_400_000, 1500],
      [1000, 500],
    ] as const) {
      const authority = authorityOf(lifeMs);
      reads = 0;
      for (const ms of [0, believedMs - 1, believedMs]) {
        now.mockReturnValue(ms);
        await authority.identify(ticket);
      }
      expect(reads).toBe(2);
    }
  } finally {
    now.mockRestore();
  }
});

test('what is too old leaves memory soon, and nothing else does', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  try {
    const cache = new SessionCache(async (sid: string) => sid, { unheardMs: 1, heardMs: 1000, most: 10 });
    await cache.get('a', 'a', true);
    await vi.advanceTimersByTimeAsync(100);
    await cache.get('b', 'b', true);
    await vi.advanceTimersByTimeAsync(950);
    expect(await cache.get('b', 'b', true)).toBe('b');
    expect(cache.counts).toEqual({ kept: 1, read: 2 });
    expect(vi.getTimerCount()).toBe(1);
    // Only while something is kept is there a timer.
    await vi.advanceTimersByTimeAsync(300);
    expect(vi.getTimerCount()).toBe(0);
  } finally {
    vi.useRealTimers();
  }
});

test('a process that doesn’t hear the journal knows of a log-out elsewhere within two seconds all the same', async () => {
  const redis = await startTestRedis();
  const config = testConfig(redis);
  const [deaf, other] = [await startTestServer(config), await startTestServer(config)];
  try {
    const ada = await Person.logIn(other.url, 'Ada');
    const statusAtDeaf = async () => (await ada.at(deaf.url).get('/api/rooms/lobby')).status;
    expect(await statusAtDeaf()).toBe(200);
    await redis.client.acl('SETUSER', 'default', '-xread');
    await waitFor('deafness', async () => (await fetch(`${deaf.url}/readyz`)).status === 503);
    expect(await statusAtDeaf()).toBe(200);
    expect((await ada.send('/api/session/end', {})).status).toBe(204);
    await waitFor('the log-out', async () => (await statusAtDeaf()) === 401, 2000);
  } finally {
    await redis.client.acl('SETUSER', 'default', '+xread');
    await Promise.all([deaf.close(), other.close()]);
    await redis.stop();
  }
});
