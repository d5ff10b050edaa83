import { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { compareIds, type StreamId, streamId } from '../src/chat/ids.ts';
import type { Refusal } from '../src/chat/refusals.ts';
import { type RoomName, roomKey } from '../src/chat/rooms.ts';
import { MAIN_SITE } from '../src/chat/sites.ts';
import type { User } from '../src/chat/users.ts';
import { Appender } from '../src/log/append.ts';
import { connect } from '../src/log/connections.ts';
import { Keys } from '../src/log/keys.ts';
import type { Log } from '../src/log/logger.ts';
import { startTestRedis, type TestRedis } from './support/redis.ts';
import { waitFor } from './support/wait-for.ts';

const ROOM = roomKey(MAIN_SITE, 'lobby' as RoomName);
const OTHER_ROOM = roomKey(MAIN_SITE, 'other' as RoomName);
const USER = 'main/u1';
const BY = { id: 'u1', name: 'Ada', guest: true } as User;
const CLIENT_ID = 'client-id-of-16-or-more';
const RETENTION = { journalEntries: 1000, roomLogEntries: 1000, postsPerSecond: 100_000, postBurst: 0 };
/** The service's own way of talking to Redis: nothing queued, nothing resent. */
const FAIL_FAST = {
  enableOfflineQueue: false,
  autoResendUnfulfilledCommands: false,
  maxRetriesPerRequest: 0,
  retryStrategy: () => 20,
};

let server: TestRedis;
let redis: Redis;
let keys: Keys;
let appender: Appender;
let namespaces = 0;
const opened: Redis[] = [];

beforeAll(async () => {
  server = await startTestRedis();
  redis = server.client;
});
afterAll(async () => {
  for (const client of opened) client.disconnect();
  await server.stop();
});
beforeEach(async () => {
  keys = new Keys(`a${namespaces++}`);
  appender = new Appender(redis, keys, RETENTION);
  await redis.hset(keys.room(ROOM), 'title', 'Lobby');
  await redis.hset(keys.room(OTHER_ROOM), 'title', 'Other');
});

const post = (text = 'hello', clientId?: string, room = ROOM, by = appender) =>
  by.post(room, USER, BY, clientId === undefined ? { text } : { text, clientId });

test('the posts of one user are paced over all processes: so many a second, then a burst, then too_fast', async () => {
  const paced = [0, 1].map(
    () => new Appender(redis, keys, { ...RETENTION, postsPerSecond: 2, postBurst: 3 }),
  );
  const says = (i: number, user: Parameters<Appender['post']>[1] = USER) =>
    (paced[i % 2] as Appender).post(ROOM, user, BY, { text: `${i}` }).then(
      () => 'accepted',
      (error) => `${error.code}, ${error.details.retryAfter} s`,
    );
  const answers: string[] = [];
  for (let i = 0; i < 6; i++) answers.push(await says(i));
  expect(answers).toEqual([...Array(5).fill('accepted'), 'too_fast, 1 s']);
  expect(await says(0, 'main/other')).toBe('accepted');
  expect(await redis.pttl(keys.pace(USER))).toBeGreaterThan(0);
  expect(await redis.pttl(keys.paceBurst(USER))).toBeGreaterThan(50_000);
  await redis.del(keys.pace(USER));
  expect(await says(1)).toBe('accepted');
});

/** Every key of the test's namespace with all it holds, but for the counts of pace, which a refused post raises too. */
async function everything(): Promise<Record<string, string>> {
  const names = (await redis.keys('*')).filter(
    (name) => name.startsWith(keys.journal.split(':')[0] as string) && !name.includes(':pace'),
  );
  const dumps = await Promise.all(names.map((name) => redis.dumpBuffer(name)));
  return Object.fromEntries(names.map((name, i) => [name, (dumps[i] as Buffer).toString('hex')]));
}

type Fields = Record<string, string> & { id: StreamId };

async function entries(key: string): Promise<Fields[]> {
  const raw = await redis.xrange(key, '-', '+');
  return raw.map(([id, fields]) => {
    const pairs = Array.from({ length: fields.length / 2 }, (_, i) => [fields[2 * i], fields[2 * i + 1]]);
    return { ...Object.fromEntries(pairs), id: streamId(id) } as Fields;
  });
}

const refusal = (posting: Promise<unknown>): Promise<Refusal> =>
  posting.then(
    () => expect.fail('was accepted'),
    (error) => error as Refusal,
  );

describe('a post', () => {
  test('stands in the journal and in its room’s log under one id, and n, prev and before chain on', async () => {
    const ids: StreamId[] = [];
    for (let i = 0; i < 12; i++) ids.push((await post(`m${i}`, undefined, i % 3 ? ROOM : OTHER_ROOM)).id);
    await appender.announce('user:main/u1', 'poke', { x: 1 });
    ids.push((await post('last')).id);
    const journal = await entries(keys.journal);
    expect(journal.filter(({ kind }) => kind === 'message').map(({ id }) => id)).toEqual(ids);
    expect(journal.map(({ before }) => before)).toEqual(['0-0', ...journal.slice(0, -1).map(({ id }) => id)]);
    expect(journal.at(-2)).toMatchObject({ to: 'user:main/u1', kind: 'poke', data: '{"x":1}' });
    for (const room of [ROOM, OTHER_ROOM]) {
      const log = await entries(keys.log(room));
      expect(log.map(({ prev }) => prev)).toEqual(['0-0', ...log.slice(0, -1).map(({ id }) => id)]);
      expect(log.map(({ n }) => n)).toEqual(log.map((_, i) => String(i + 1)));
      const inJournal = journal.filter(({ to }) => to === `room:${room}`);
      expect(inJournal.map(({ to, before, ...rest }) => rest)).toEqual(log);
      expect(await redis.hget(keys.room(room), 'n')).toBe(String(log.length));
    }
  });

  test('to a room that there isn’t is refused, and nothing is changed', async () => {
    await post();
    await redis.del(keys.room(OTHER_ROOM));
    const before = await everything();
    expect(await refusal(post('x', CLIENT_ID, OTHER_ROOM))).toMatchObject({ code: 'room_not_found' });
    expect(await everything()).toEqual(before);
  });

  test('goes through although Redis forgot its scripts', async () => {
    for (let i = 0; i < 3; i++) {
      await redis.script('FLUSH');
      expect(await post(`m${i}`)).toMatchObject({ isNew: true });
    }
    expect(await entries(keys.log(ROOM))).toHaveLength(3);
  });

  test('keeps the epoch that there is, and makes one that is missing', async () => {
    await post();
    const epoch = await redis.get(keys.epoch);
    expect(epoch).toBeTruthy();
    await post();
    expect(await redis.get(keys.epoch)).toBe(epoch);
    await redis.del(keys.epoch);
    await post();
    expect(await redis.get(keys.epoch)).not.toBe(epoch);
  });

  test('is refused whole when Redis’ memory is full', async () => {
    await post();
    const before = await everything();
    await redis.config('SET', 'maxmemory', '1');
    try {
      expect(await refusal(post('x', CLIENT_ID))).toMatchObject({ code: 'unavailable' });
    } finally {
      await redis.config('SET', 'maxmemory', '0');
    }
    expect(await everything()).toEqual(before);
  });
});

describe('posts of one moment', () => {
  test('go in one call, in their order; what one of them is refused for concerns no other', async () => {
    await redis.set(keys.pace('main/broken'), 'x');
    await redis.hset(keys.room(OTHER_ROOM), 'n', 'x');
    await redis.config('RESETSTAT');
    const outcome = (posting: Promise<{ isNew: boolean }>) =>
      posting.then(
        ({ isNew }) => isNew,
        ({ code, message }: Refusal) => code ?? message,
      );
    const nowhere = roomKey(MAIN_SITE, 'nowhere' as RoomName);
    const answers = await Promise.all(
      [
        post('one', CLIENT_ID),
        appender.post(ROOM, 'main/broken', BY, { text: 'x' }),
        post('x', undefined, OTHER_ROOM),
        post('x', undefined, nowhere),
        post('one', CLIENT_ID),
        post('two', CLIENT_ID),
        post('three'),
      ].map(outcome),
    );
    expect(answers).toEqual([
      true,
      expect.stringMatching(/^append refused: .* is not a count$/),
      expect.stringMatching(/n that is no count/),
      'room_not_found',
      false,
      'client_id_reused',
      true,
    ]);
    expect(await redis.info('commandstats')).toMatch(/cmdstat_eval(sha)?:calls=1,/);
    const log = await entries(keys.log(ROOM));
    expect(log.map(({ data, n }) => [JSON.parse(data as string).text, n])).toEqual([
      ['one', '1'],
      ['three', '2'],
    ]);
    expect(log[1]?.['prev']).toBe(log[0]?.id);
    expect(await entries(keys.log(OTHER_ROOM))).toEqual([]);
  });

  test('are all appended in their order, however many they are', async () => {
    const texts = Array.from({ length: 200 }, (_, i) => `m${i}`);
    const answers = await Promise.all(texts.map((text) => post(text)));
    const log = await entries(keys.log(ROOM));
    expect(log.map(({ data }) => JSON.parse(data as string).text)).toEqual(texts);
    expect(log.map(({ id }) => id)).toEqual(answers.map(({ id }) => id));
    const journal = await entries(keys.journal);
    expect(journal.map(({ before }) => before)).toEqual(['0-0', ...log.slice(0, -1).map(({ id }) => id)]);
  });
});

describe('a store that isn’t as it should be', () => {
  test.each([
    ['the journal', () => keys.journal],
    ['the epoch', () => keys.epoch],
    ['the room’s log', () => keys.log(ROOM)],
    ['the room', () => keys.room(ROOM)],
    ['the sent post', () => keys.sent(ROOM, USER, CLIENT_ID)],
  ])('%s being of another type refuses the post, and nothing is changed', async (_, key) => {
    await post('before');
    await redis.del(key());
    await redis.zadd(key(), 1, 'x');
    const before = await everything();
    const error = await refusal(post('x', CLIENT_ID));
    expect(error.message).toMatch(/^append refused: .* is a zset, not a (stream|string|hash)$/);
    expect(await everything()).toEqual(before);
  });

  test.each(['journal', 'epoch'] as const)(
    '%s being of another type refuses announcements',
    async (which) => {
      await post('before');
      await redis.del(keys[which]);
      await redis.sadd(keys[which], 'x');
      const before = await everything();
      expect((await refusal(appender.announce('user:main/u1', 'poke'))).message).toMatch(/^append refused: /);
      expect(await everything()).toEqual(before);
    },
  );

  test('a sent post that is no id and digest refuses the same post, and nothing is changed', async () => {
    await redis.set(keys.sent(ROOM, USER, CLIENT_ID), 'nonsense');
    const before = await everything();
    expect((await refusal(post('x', CLIENT_ID))).message).toMatch(/is not an id and a digest/);
    expect(await everything()).toEqual(before);
  });

  test.each(['x', '', '1.5', '-1', '1e3', ' 1', '0x10', 'nan', 'inf', '9'.repeat(16)])(
    'an n of %j refuses the post, and nothing is changed',
    async (n) => {
      await post('before');
      await redis.hset(keys.room(ROOM), 'n', n);
      const before = await everything();
      expect((await refusal(post('x', CLIENT_ID))).message).toMatch(/n that is no count/);
      expect(await everything()).toEqual(before);
    },
  );

  test('an n of fifteen digits still counts exactly', async () => {
    await redis.hset(keys.room(ROOM), 'n', '999999999999998');
    await post();
    expect(await redis.hget(keys.room(ROOM), 'n')).toBe('999999999999999');
  });
});

describe('ids grow', () => {
  const HUGE = '18446744073709551615';
  test.each([
    ['the clock was set back', '99999999999999-5', '99999999999999-6'],
    ['a sequence is at its top', `99999999999999-${HUGE}`, '100000000000000-0'],
    ['a sequence is beyond 53 bits', '99999999999999-9007199254740993', '100000000000000-0'],
    ['a time is beyond 53 bits', '9007199254740993-7', '9007199254740993-8'],
    ['a time is at its top', `${HUGE}-7`, `${HUGE}-8`],
    ['a sequence gets a digit more', '99999999999999-9', '99999999999999-10'],
    ['a time gets a digit more', `99999999999999-${HUGE}`, '100000000000000-0'],
  ])('when %s', async (_, last, next) => {
    for (const ahead of [keys.journal, keys.log(OTHER_ROOM)]) await redis.xadd(ahead, last, 'kind', 'x');
    expect((await post('a')).id).toBe(next);
    expect((await post('b', undefined, OTHER_ROOM)).id).not.toBe(next);
    const ids = (await entries(keys.journal)).map(({ id }) => id);
    for (const [i, id] of ids.slice(1).entries()) expect(compareIds(ids[i] as StreamId, id)).toBeLessThan(0);
  });

  test('when a room’s log is ahead of the journal, whose ids then follow it', async () => {
    await post('before');
    await redis.xadd(keys.log(ROOM), '99999999999999-5', 'kind', 'x');
    const { id } = await post('a');
    expect(id).toBe('99999999999999-6');
    expect((await entries(keys.log(ROOM))).at(-1)).toMatchObject({ id, prev: '99999999999999-5' });
    expect((await entries(keys.journal)).at(-1)?.id).toBe(id);
    expect((await post('b', undefined, OTHER_ROOM)).id).toBe('99999999999999-7');
  });

  test('when the journal was trimmed to nothing', async () => {
    await redis.xadd(keys.journal, '99999999999999-5', 'kind', 'x');
    await redis.xtrim(keys.journal, 'MAXLEN', 0);
    expect((await post()).id).toBe('99999999999999-6');
    expect((await entries(keys.journal)).at(-1)).toMatchObject({ before: '99999999999999-5' });
  });

  test('until they are used up: then posts are refused, and nothing is changed', async () => {
    await redis.xadd(keys.journal, `${HUGE}-${HUGE}`, 'kind', 'x');
    const before = await everything();
    expect((await refusal(post('x', CLIENT_ID))).message).toMatch(/used up its ids/);
    expect(await everything()).toEqual(before);
  });
});

describe('a room knows the last id of its log', () => {
  const HUGE = '18446744073709551615';

  test('so that the stream needn’t be asked', async () => {
    const asked = async () =>
      Number(/cmdstat_xinfo\|stream:calls=(\d+)/.exec(await redis.info('commandstats'))?.[1] ?? 0);
    const first = await post('a');
    const before = await asked();
    const { id } = await post('b');
    // The journal is.
    expect((await asked()) - before).toBe(1);
    expect((await entries(keys.log(ROOM))).at(-1)).toMatchObject({ id, prev: first.id });
    expect(await redis.hget(keys.room(ROOM), 'last')).toBe(`2 ${id}`);
  });

  test.each(['', 'x', '1', '1 ', '1 1-', '1 1-x', '1 5-1 ', '2 5-1', '0 5-1'])(
    'but asks it where that is %j',
    async (last) => {
      const first = await post('a');
      await redis.hset(keys.room(ROOM), 'last', last);
      const { id } = await post('b');
      expect((await entries(keys.log(ROOM))).at(-1)).toMatchObject({ id, prev: first.id });
    },
  );

  test('also of one that has vanished: whoever saw less is told of a gap', async () => {
    const { id } = await post('a');
    await redis.del(keys.log(ROOM));
    await post('b');
    expect(await entries(keys.log(ROOM))).toMatchObject([{ prev: id }]);
  });

  test('and a log that has used up its ids refuses the post, and nothing is changed', async () => {
    await post('a');
    await redis.xadd(keys.log(ROOM), `${HUGE}-${HUGE}`, 'kind', 'x');
    const before = await everything();
    expect((await refusal(post('x', CLIENT_ID))).message).toMatch(/used up its ids/);
    expect(await everything()).toEqual(before);
  });
});

describe('the same clientId', () => {
  test('twenty times at once is one message, and all are answered with its id', async () => {
    const clients = Array.from({ length: 4 }, () => new Redis(server.path, { retryStrategy: () => 50 }));
    opened.push(...clients);
    await Promise.all(clients.map((client) => client.ping()));
    const appenders = clients.map((client) => new Appender(client, keys, RETENTION));
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) => post('once', CLIENT_ID, ROOM, appenders[i % 4])),
    );
    expect(answers.filter(({ isNew }) => isNew)).toHaveLength(1);
    const log = await entries(keys.log(ROOM));
    expect(log).toHaveLength(1);
    expect(new Set(answers.map(({ id }) => id))).toEqual(new Set([log[0]?.id]));
    expect(await redis.hget(keys.room(ROOM), 'n')).toBe('1');
  });

  test('with another text is refused, and nothing is changed', async () => {
    await post('one', CLIENT_ID);
    const before = await everything();
    expect(await refusal(post('two', CLIENT_ID))).toMatchObject({ code: 'client_id_reused', status: 409 });
    expect(await everything()).toEqual(before);
  });

  test('is another message in another room, and from another user', async () => {
    const ids = [
      await post('one', CLIENT_ID),
      await post('one', CLIENT_ID, OTHER_ROOM),
      await appender.post(ROOM, 'main/u2', BY, { text: 'one', clientId: CLIENT_ID }),
    ];
    expect(ids.map(({ isNew }) => isNew)).toEqual([true, true, true]);
  });

  test('is remembered when the message has left the log, and for 24 hours', async () => {
    const { id } = await post('one', CLIENT_ID);
    await redis.xtrim(keys.log(ROOM), 'MAXLEN', 0);
    await redis.xtrim(keys.journal, 'MAXLEN', 0);
    expect(await post('one', CLIENT_ID)).toEqual({ id, isNew: false });
    const left = await redis.pttl(keys.sent(ROOM, USER, CLIENT_ID));
    expect(left).toBeGreaterThan(86_300_000);
    expect(left).toBeLessThanOrEqual(86_400_000);
  });
});

describe('when Redis doesn’t answer', () => {
  /** A client whose id is known, so that it can be looked at and killed by the test's other one. */
  async function client(commandTimeout: number): Promise<{ client: Redis; id: () => Promise<number> }> {
    const client = new Redis(server.path, { ...FAIL_FAST, commandTimeout });
    client.on('error', () => {});
    opened.push(client);
    await waitFor('the connection', () => client.status === 'ready');
    return { client, id: () => client.client('ID') as Promise<number> };
  }

  const isHeld = async (id: number) => / flags=\S*b/.test((await redis.client('LIST', 'ID', id)) as string);

  test('in time, the post is unsure; carried out late, the same again is still one message', async () => {
    const { client: slow } = await client(150);
    const over = new Appender(slow, keys, RETENTION);
    await post('warm up', undefined, ROOM, over);
    await redis.client('PAUSE', 20_000, 'WRITE');
    try {
      expect(await refusal(post('one', CLIENT_ID, ROOM, over))).toMatchObject({
        code: 'unsure',
        status: 503,
      });
    } finally {
      await redis.client('UNPAUSE');
    }
    await waitFor('the late append', () => redis.exists(keys.sent(ROOM, USER, CLIENT_ID)));
    expect(await post('one', CLIENT_ID, ROOM, over)).toMatchObject({ isNew: false });
    expect(await entries(keys.log(ROOM))).toHaveLength(2);
  });

  test('since the connection broke mid-flight, the post is unsure, and the same again is one message', async () => {
    const { client: killed, id } = await client(10_000);
    const over = new Appender(killed, keys, RETENTION);
    await post('warm up', undefined, ROOM, over);
    const clientNumber = await id();
    await redis.client('PAUSE', 20_000, 'WRITE');
    try {
      const refused = refusal(post('one', CLIENT_ID, ROOM, over));
      await waitFor('the post to reach Redis', () => isHeld(clientNumber));
      await redis.client('KILL', 'ID', clientNumber);
      expect(await refused).toMatchObject({ code: 'unsure' });
    } finally {
      await redis.client('UNPAUSE');
    }
    await waitFor('the new connection', () => killed.status === 'ready');
    await post('one', CLIENT_ID, ROOM, over);
    expect(await post('one', CLIENT_ID, ROOM, over)).toMatchObject({ isNew: false });
    const texts = (await entries(keys.log(ROOM))).map(({ data }) => JSON.parse(data as string).text);
    expect(texts).toEqual(['warm up', 'one']);
  });

  test('since there is no connection, the post is unavailable, and nothing was sent', async () => {
    const { client: gone } = await client(10_000);
    const over = new Appender(gone, keys, RETENTION);
    await post('warm up', undefined, ROOM, over);
    gone.disconnect();
    const before = await everything();
    expect(await refusal(post('one', CLIENT_ID, ROOM, over))).toMatchObject({
      code: 'unavailable',
      status: 503,
      details: { retryAfter: 1 },
    });
    await waitFor('the end of the connection', () => gone.status === 'end');
    expect(await refusal(post('one', CLIENT_ID, ROOM, over))).toMatchObject({ code: 'unavailable' });
    expect(await everything()).toEqual(before);
  });

  test('the service’s own connection, once back, posts again, and never twice what was unsure', async () => {
    const log = { warn: () => {} } as unknown as Log;
    const connections = await connect({ path: server.path }, log);
    try {
      const over = new Appender(connections.commands, keys, RETENTION);
      for (let i = 0; i < 30; i++) {
        const clientId = `${CLIENT_ID}-${i}`;
        const first = post(`m${i}`, clientId, ROOM, over).catch((error: Refusal) => error.code);
        if (i % 3 === 0) await redis.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
        const answer = await first;
        if (typeof answer === 'string') expect(['unsure', 'unavailable']).toContain(answer);
        await waitFor('the post to be accepted', () =>
          post(`m${i}`, clientId, ROOM, over).catch(() => undefined),
        );
      }
      const texts = (await entries(keys.log(ROOM))).map(({ data }) => JSON.parse(data as string).text);
      expect(texts).toEqual(Array.from({ length: 30 }, (_, i) => `m${i}`));
    } finally {
      connections.close();
    }
  });
});
