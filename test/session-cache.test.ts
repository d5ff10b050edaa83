import { setTimeout as pause } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { SessionCache } from '../src/http/session-cache.ts';

/** A store whose answers are given by hand. */
function slowStore() {
  const asked: ((session: string | undefined) => void)[] = [];
  const read = () => new Promise<string | undefined>((resolve) => asked.push(resolve));
  return { asked, read };
}

test('a session that asks a lot is read once, and again when a moment has passed', async () => {
  const { asked, read } = slowStore();
  const cache = new SessionCache(read, 50, 10);
  const both = Promise.all([cache.get('a', 's'), cache.get('a', 's')]);
  asked[0]?.('ada');
  expect(await both).toEqual(['ada', 'ada']);
  expect(await cache.get('a', 's')).toBe('ada');
  expect(asked).toHaveLength(1);
  await pause(60);
  void cache.get('a', 's');
  expect(asked).toHaveLength(2);
});

test('what was read before a session ended is no longer true, nor what was being read then', async () => {
  const { asked, read } = slowStore();
  const cache = new SessionCache(read, 10_000, 10);
  const early = cache.get('a', 's');
  cache.drop('a');
  asked[0]?.('ada');
  await pause(0);
  asked[1]?.(undefined);
  expect(await early).toBeUndefined();
  const late = cache.get('a', 's');
  asked[2]?.(undefined);
  expect(await late).toBeUndefined();
});

test('neither nobody nor a failure is kept, and no more is kept than may be', async () => {
  let answer: () => Promise<string | undefined> = async () => undefined;
  let reads = 0;
  const cache = new SessionCache(
    () => {
      reads++;
      return answer();
    },
    10_000,
    3,
  );
  expect(await cache.get('a', 's')).toBeUndefined();
  answer = () => Promise.reject(new Error('Redis is away'));
  await expect(cache.get('a', 's')).rejects.toThrow('Redis is away');
  answer = async () => 'ada';
  expect(await cache.get('a', 's')).toBe('ada');
  expect(reads).toBe(3);
  for (const name of ['b', 'c', 'd', 'e']) await cache.get(name, name);
  await cache.get('a', 's');
  expect(reads).toBe(8);
});
