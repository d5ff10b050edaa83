import type { Redis } from 'ioredis';
import { afterAll, describe, expect, test } from 'vitest';
import type { Config } from '../../src/config.ts';
import type { RunningServer } from '../../src/server.ts';
import type { Carrier, Follower } from './carriers.ts';
import { Person, startTestServer, testConfig } from './service.ts';
import { waitFor } from './wait-for.ts';

/** Where a contract's service keeps its data, and a way past the service to it. */
export interface Store {
  /** As `REDIS_URL` has it. */
  readonly path: string;
  readonly client: Pick<Redis, 'del' | 'xdel' | 'xlen' | 'xrange' | 'xtrim'>;
}

export const numbered = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, i) => `m${from + i}`);

export async function postAll(person: Person, texts: string[], room = 'lobby'): Promise<string[]> {
  const ids: string[] = [];
  for (const text of texts) ids.push(await person.post(text, room));
  return ids;
}

export async function untilTold(follower: Follower, texts: string[], withinMs?: number): Promise<void> {
  await waitFor(
    `${texts.length} messages (has ${follower.texts.length}, ${String(follower.failure ?? 'no failure')})`,
    () => follower.failure !== undefined || follower.texts.length >= texts.length,
    withinMs,
  );
  expect(follower.failure).toBeUndefined();
  expect(follower.texts).toEqual(texts);
}

/** A way to open services in namespaces of their own, which are closed at the end of the tests around it. */
export function serviceOver(storeOf: () => Store) {
  const running: RunningServer[] = [];
  afterAll(() => Promise.all(running.map((server) => server.close())));
  /** Served by as many processes as asked for. */
  return async (overrides: Partial<Config> = {}, processes = 1) => {
    const config = testConfig(storeOf(), overrides);
    const servers: RunningServer[] = [];
    for (let i = 0; i < processes; i++) servers.push(await startTestServer(config));
    running.push(...servers);
    const person = await Person.logIn((servers[0] as RunningServer).url);
    const journal = `${config.namespace}:{0}:journal`;
    const log = (room = 'lobby') => `${config.namespace}:{0}:log:main/${room}`;
    return { config, servers, person, journal, log, urls: servers.map(({ url }) => url) };
  };
}

/** What readers may rely on, whatever carries it and wherever it is kept. */
export function describeContract(storeOf: () => Store, carriers: readonly Carrier[]): void {
  const serve = serviceOver(storeOf);

  describe.each(carriers)('over $name', (carrier) => {
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
      for (const room of ['a', 'b', 'c'])
        expect((await person.send('/api/rooms', { room })).status).toBe(201);
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
        await Promise.all(
          ['a', 'b', 'a', 'b', 'b', 'a'].map((room, i) => person.post(`${round}.${i}`, room)),
        );
      }
      await waitFor('all', () => follower.failure !== undefined || follower.texts.length >= 60);
      const journal = await storeOf().client.xrange(`${config.namespace}:{0}:journal`, '-', '+');
      const messages = journal.filter(([, fields]) => fields.includes('message'));
      expect(follower.events.map(({ id }) => id)).toEqual(messages.map(([id]) => id));
      await follower.cut();
    });

    test('a log trimmed beyond the cursor is a gap, told once, and what is left follows', async () => {
      const { person, log } = await serve({ windowEntries: 2 });
      const { cursor } = await person.history();
      const ids = await postAll(person, numbered(0, 10));
      await storeOf().client.xtrim(log(), 'MAXLEN', 4);
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
      await storeOf().client.xtrim(log(), 'MAXLEN', 0);
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
        await storeOf().client.xdel(log(), ids[erased] as string);
        await storeOf().client.xdel(journal, ids[erased] as string);
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
      await storeOf().client.del(journal, log(), `${config.namespace}:{0}:epoch`);
      await waitFor('the gap', () => follower.events.some(({ kind }) => kind === 'gap'));
      expect(follower.events[0]).toMatchObject({ kind: 'gap', reason: 'rollback', room: 'lobby' });
      await person.post('anew');
      await untilTold(follower, ['anew']);
      expect(await storeOf().client.xlen(log())).toBe(1);
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
}
