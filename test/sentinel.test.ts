import { randomUUID } from 'node:crypto';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { RoomKey } from '../src/chat/rooms.ts';
import { connect } from '../src/log/connections.ts';
import { Keys } from '../src/log/keys.ts';
import { parseRedisAddress } from '../src/log/redis-address.ts';
import type { RunningServer } from '../src/server.ts';
import type { RedisNode } from './support/redis-nodes.ts';
import { TestSentinels } from './support/redis-sentinels.ts';
import { Person, startTestServer, testConfig } from './support/service.ts';
import { type Listener, type Said, saidIn, Talk } from './support/talk.ts';
import { waitFor } from './support/wait-for.ts';

const LOBBY = 'main/lobby' as RoomKey;

let redis: TestSentinels;
const running: RunningServer[] = [];
const talks: Talk[] = [];
beforeAll(async () => {
  redis = await TestSentinels.start();
}, 60_000);
afterEach(async () => {
  await Promise.all(talks.splice(0).map((talk) => talk.end()));
  await Promise.all(running.splice(0).map((server) => server.close()));
});
afterAll(() => redis?.stop());

async function serve() {
  await redis.untilWhole();
  const config = testConfig({ path: redis.url });
  for (let i = 0; i < 2; i++) running.push(await startTestServer(config));
  const [here, there] = running.map(({ url }) => url) as [string, string];
  const person = await Person.logIn(here);
  const persons = [person, person.at(there)] as const;
  const talk = await Talk.begin(persons);
  talks.push(talk);
  return { talk, persons, log: new Keys(config.namespace).log(LOBBY) };
}

const untilAnotherThan = (before: RedisNode) =>
  waitFor(
    'the new master',
    async () => {
      const named = await redis.master();
      return named !== before && (await named.info('role').catch(() => '')) === 'master' ? named : undefined;
    },
    20_000,
  );

/** How many connections of the service a Redis has. */
async function connectionsAt({ client }: RedisNode): Promise<number> {
  const clients = (await client.client('LIST')) as string;
  return clients.match(/ name=throughline-/g)?.length ?? 0;
}

/** What a listener was told that isn't in the log. */
function toldInVain(listener: Listener, log: readonly Said[]) {
  const ids = new Set(log.map(({ id }) => id));
  return listener.events.filter(({ kind, id }) => kind === 'message' && !ids.has(id as string));
}

function expectOnce(texts: readonly string[]): void {
  expect(new Set(texts).size).toBe(texts.length);
}

/** A gap is told to whoever was told what is lost; where nothing is, it is told to nobody. */
function expectGapsForLosses(talk: Talk, log: readonly Said[]): void {
  const texts = new Set(log.map(({ text }) => text));
  const deceived = talk.listeners.filter((listener) => toldInVain(listener, log).length > 0);
  for (const { name, gaps } of deceived) expect(gaps, name).not.toEqual([]);
  for (const gap of talk.gaps) expect(gap).toMatchObject({ room: 'lobby', reason: 'rollback' });
  if (deceived.length === 0 && talk.accepted.every((text) => texts.has(text))) expect(talk.gaps).toEqual([]);
}

test('where the Sentinels change masters under traffic, all that is left is told once and in order, and it goes on', async () => {
  const { talk, log } = await serve();
  await talk.untilMore(10);
  const before = await redis.master();
  await redis.failOver();
  const after = await untilAnotherThan(before);
  await talk.untilMore(10);
  await talk.hush();
  const all = await saidIn(after.client, log);
  expectOnce(all.map(({ text }) => text));
  await talk.expectAllTold(all);
  expectGapsForLosses(talk, all);
}, 60_000);

test('where the Sentinels change masters and nothing is lost, nobody is told of a gap', async () => {
  const { talk, persons, log } = await serve();
  await talk.untilMore(10);
  await talk.hush();
  await redis.untilWhole();
  const before = await redis.master();
  const connections = await connectionsAt(before);
  await redis.failOver();
  const after = await untilAnotherThan(before);
  // The old master would still take posts, and lose them when it is told that it isn't one.
  await waitFor(
    'the service has moved',
    async () => (await connectionsAt(before)) === 0 && (await connectionsAt(after)) === connections,
  );
  for (const person of persons) {
    const post = { text: `after it, at ${person.url}`, clientId: randomUUID() };
    await waitFor('it goes on', async () => (await person.send('/api/rooms/lobby/messages', post)).ok);
  }
  const all = await saidIn(after.client, log);
  expect(all.length).toBe(talk.accepted.length + persons.length);
  await talk.expectAllTold(all);
  expect(talk.gaps).toEqual([]);
}, 60_000);

test('a master killed with what its replicas lack: every listener is told of a rollback, and all else once and in order', async () => {
  const { talk, log } = await serve();
  await talk.untilMore(10);
  const before = await redis.master();
  const replicas = redis.servers.filter((server) => server !== before);
  await Promise.all(replicas.map((replica) => replica.loseMaster()));
  const had = new Map<RedisNode, Said[]>();
  for (const replica of replicas) had.set(replica, await saidIn(replica.client, log));
  await talk.untilMore(10);
  for (const listener of talk.listeners) {
    await waitFor(`what no replica has over ${listener.name}`, () =>
      [...had.values()].every((said) => toldInVain(listener, said).length > 0),
    );
  }
  const promised = talk.accepted;
  await before.kill();
  const after = await untilAnotherThan(before);
  await talk.untilMore(10);
  await talk.hush();
  const all = await saidIn(after.client, log);
  const texts = all.map(({ text }) => text);
  const kept = had.get(after) as Said[];
  expect(all.slice(0, kept.length)).toEqual(kept);
  expectOnce(texts);
  expect(promised.filter((text) => !texts.includes(text)).length).toBeGreaterThanOrEqual(10);
  await talk.expectAllTold(all);
  for (const listener of talk.listeners) {
    expect(toldInVain(listener, all), listener.name).not.toEqual([]);
    expect(listener.gaps, listener.name).not.toEqual([]);
    for (const gap of listener.gaps) expect(gap).toMatchObject({ room: 'lobby', reason: 'rollback' });
  }
  await Promise.all(replicas.map((replica) => replica.findMaster()));
  await redis.rejoin(before);
}, 60_000);

test('a master killed under traffic is replaced: what was refused meanwhile is accepted later, once', async () => {
  const { talk, log } = await serve();
  await talk.untilMore(10);
  const before = await redis.master();
  await before.kill();
  const after = await untilAnotherThan(before);
  await talk.untilMore(10);
  await talk.hush();
  expect(talk.refusals.length).toBeGreaterThan(0);
  const all = await saidIn(after.client, log);
  expectOnce(all.map(({ text }) => text));
  await talk.expectAllTold(all);
  expectGapsForLosses(talk, all);
}, 60_000);

test.each([
  [
    'a master they don’t know',
    (url: string) => url.replace(/[^/]*$/, 'another'),
    /know no master of that name/,
  ],
  ['no Sentinel at all', () => 'redis+sentinel://127.0.0.1:1/m', /can’t be used/],
])('%s stops the start with a sentence', async (_what, change, sentence) => {
  const connecting = connect(parseRedisAddress(change(redis.url)), pino({ level: 'silent' }));
  await expect(connecting).rejects.toThrow(sentence);
  await expect(connecting).rejects.toMatchObject({ name: 'StartError' });
});
