import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { RoomKey } from '../src/chat/rooms.ts';
import { newSite, parseSiteName } from '../src/chat/sites.ts';
import type { Config } from '../src/config.ts';
import { connect } from '../src/log/connections.ts';
import { Keys } from '../src/log/keys.ts';
import { parseRedisAddress } from '../src/log/redis-address.ts';
import { shardIndexOf, tagsOf } from '../src/log/shards.ts';
import { SiteBook } from '../src/log/site-book.ts';
import type { RunningServer } from '../src/server.ts';
import { carriers } from './support/carriers.ts';
import { TestCluster } from './support/redis-cluster.ts';
import { RedisNode } from './support/redis-nodes.ts';
import { Person, startTestServer, testConfig } from './support/service.ts';
import { Listener, saidIn, Talk } from './support/talk.ts';
import { waitFor } from './support/wait-for.ts';

const LOBBY = 'main/lobby' as RoomKey;

let cluster: TestCluster;
const running: RunningServer[] = [];
const talks: Talk[] = [];
beforeAll(async () => {
  cluster = await TestCluster.start();
}, 60_000);
afterEach(async () => {
  await Promise.all(talks.splice(0).map((talk) => talk.end()));
  await Promise.all(running.splice(0).map((server) => server.close()));
});
afterAll(() => cluster?.stop());

/** Two processes over the Cluster, and somebody who is logged in. */
async function serve(overrides: Partial<Config> = {}) {
  const config = testConfig({ path: cluster.url }, overrides);
  for (let i = 0; i < 2; i++) running.push(await startTestServer(config));
  const [here, there] = running.map(({ url }) => url) as [string, string];
  const person = await Person.logIn(here);
  const persons = [person, person.at(there)] as const;
  return { config, keys: new Keys(config.namespace), person, persons };
}

const numbered = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => `m${from + i}`);

test('over every carrier everything arrives once and in order, in several rooms, for readers who drop and resume on either process', async () => {
  const { person, persons } = await serve({ windowEntries: 8, pageEntries: 3 });
  for (const room of ['a', 'b']) expect((await person.send('/api/rooms', { room })).status).toBe(201);
  const { cursor } = await person.history();
  const listeners = carriers.map((carrier) => new Listener(carrier, persons, ['a', 'b'], cursor));
  for (const [i, text] of numbered(0, 60).entries()) {
    await person.post(text, i % 3 === 0 ? 'a' : 'b');
    if (i % 10 === 5) for (const listener of listeners) await listener.drop();
  }
  for (const listener of listeners) {
    await waitFor(`all over ${listener.name}`, () => listener.texts.length >= 60);
    expect(listener.texts).toEqual(numbered(0, 60));
    await listener.stop();
  }
});

test('a Cluster whose nodes are named by another host name than they announce is found', async () => {
  const path = cluster.url.replaceAll('127.0.0.1', 'localhost');
  const server = await startTestServer(testConfig({ path }));
  running.push(server);
  const person = await Person.logIn(server.url);
  const id = await person.post('hi');
  expect((await person.history()).events).toContainEqual(expect.objectContaining({ id, text: 'hi' }));
});

test('the end of a session ends what it reads, over every carrier and on every process', async () => {
  const { persons } = await serve();
  const { cursor } = await persons[0].history();
  const followers = carriers.flatMap((carrier) =>
    persons.map((person) => carrier.follow(person, ['lobby'], cursor)),
  );
  await persons[0].post('hi');
  for (const follower of followers) await waitFor('hi', () => follower.texts.length > 0);
  expect((await persons[0].send('/api/session/end', {})).status).toBe(204);
  for (const follower of followers) {
    await follower.done;
    const isRefused = /401/.test(String(follower.failure));
    expect(isRefused || follower.events.at(-1)?.code === 'session_ended').toBe(true);
  }
});

test('presence, names, rooms and memberships hold over slots', async () => {
  const { person, persons } = await serve();
  await person.send('/api/rooms', { room: 'den', title: 'The den' });
  expect((await persons[1].send('/api/rooms/den/join', {})).status).toBe(200);
  expect((await person.send('/api/confirm', { rooms: ['den', 'lobby'] })).status).toBe(204);
  const people = await (await persons[1].get('/api/rooms/den/people')).json();
  expect(people).toMatchObject({ count: 1, people: [{ name: person.user.name }] });
  const { rooms } = (await (await persons[1].get('/api/rooms')).json()) as { rooms: object[] };
  expect(rooms).toMatchObject([
    { room: 'den', title: 'The den', members: 1, isMember: true },
    { room: 'lobby', isMember: false },
  ]);
  await expect(Person.logIn(person.url, person.user.name)).rejects.toThrow('409');
});

/** One site of each of so many shards. */
async function putSites(namespace: string, shards: number): Promise<string[]> {
  const connections = await connect(parseRedisAddress(cluster.url), pino({ level: 'silent' }));
  const book = new SiteBook(connections.commands, new Keys(namespace));
  const names = Array.from({ length: 100 }, (_, i) => parseSiteName(`site-${i}`));
  const sites = tagsOf(shards).map((_, shard) => names.find((name) => shardIndexOf(name, shards) === shard));
  for (const site of sites) await book.put(newSite(site as (typeof names)[0]));
  connections.close();
  return sites as string[];
}

test.each(['master', 'replica'])(
  'as many shards as masters lie one on each, and each site is told its own once and in order (durability: %s)',
  async (durability) => {
    const shards = 3;
    const { config, persons } = await serve({ shards, durability });
    const sites = await putSites(config.namespace, shards);
    const journals = tagsOf(shards).map((tag) => new Keys(config.namespace, tag).journal);
    const masters = await Promise.all(journals.map(async (key) => (await cluster.serving(key)).master.port));
    expect(new Set(masters).size).toBe(shards);
    const talks = [];
    for (const site of sites) {
      const person = await Person.logIn(persons[0].url, 'Ada', site);
      const both = [person, person.at(persons[1].url)];
      const { cursor } = await person.history();
      talks.push({
        person,
        listeners: carriers.map((carrier) => new Listener(carrier, both, ['lobby'], cursor)),
      });
    }
    for (let i = 0; i < 20; i++) {
      await Promise.all(talks.map(({ person }) => person.post(`${person.site} ${i}`)));
      if (i === 10)
        for (const { listeners } of talks) for (const listener of listeners) await listener.drop();
    }
    for (const { person, listeners } of talks) {
      for (const listener of listeners) {
        await waitFor(`all over ${listener.name}`, () => listener.texts.length >= 20);
        expect(listener.texts).toEqual(Array.from({ length: 20 }, (_, i) => `${person.site} ${i}`));
      }
    }
    await Promise.all(talks.flatMap(({ listeners }) => listeners.map((listener) => listener.stop())));
  },
  60_000,
);

test('a master that hands over to its replica under traffic costs nobody a word', async () => {
  const { keys, persons } = await serve();
  const log = keys.log(LOBBY);
  const talk = await Talk.begin(persons);
  talks.push(talk);
  await talk.untilMore(10);
  const { master, replicas } = await cluster.serving(log);
  await replicas[0]?.client.call('CLUSTER', 'FAILOVER');
  await waitFor('the hand-over', async () => (await cluster.serving(log)).master !== master);
  await talk.untilMore(10);
  await talk.hush();
  const all = await saidIn((await cluster.serving(log)).master.client, log);
  expect(all.map(({ text }) => text).sort()).toEqual(talk.accepted.sort());
  await talk.expectAllTold(all);
  expect(talk.gaps).toEqual([]);
});

test('a master killed with what its replica lacks: that is a gap, all else is told once, and it goes on', async () => {
  const { keys, persons } = await serve();
  const log = keys.log(LOBBY);
  const talk = await Talk.begin(persons);
  talks.push(talk);
  await talk.untilMore(10);
  const { master, replicas } = await cluster.serving(log);
  const [replica] = replicas as [RedisNode];
  await replica.loseMaster();
  await replica.client.readonly();
  const kept = await saidIn(replica.client, log);
  await talk.untilMore(10);
  await master.kill();
  await waitFor('the election', async () => (await replica.info('role')) === 'master', 20_000);
  await talk.untilMore(10);
  await talk.hush();
  const all = await saidIn(replica.client, log);
  const texts = all.map(({ text }) => text);
  expect(texts.slice(0, kept.length)).toEqual(kept.map(({ text }) => text));
  expect(new Set(texts).size).toBe(texts.length);
  expect(talk.accepted.filter((text) => !texts.includes(text)).length).toBeGreaterThanOrEqual(10);
  expect(talk.refusals.length).toBeGreaterThan(0);
  await talk.expectAllTold(all);
  for (const listener of talk.listeners)
    expect(listener.gaps).toContainEqual(expect.objectContaining({ room: 'lobby', reason: 'rollback' }));
  await master.restart();
  await replica.findMaster();
  await cluster.untilWhole();
});

test('a Cluster with slots that no master serves is refused at the start, in words', async () => {
  const lines = ['cluster-enabled yes', 'cluster-port %bus', 'save ""'];
  const node = await RedisNode.start(lines);
  try {
    const [port, url] = [node.port, `redis+cluster://127.0.0.1:${node.port}`];
    await node.client.call('CONFIG', 'SET', 'cluster-announce-ip', '127.0.0.1');
    await node.client.call('CLUSTER', 'ADDSLOTSRANGE', 0, 16_000);
    const started = startTestServer(testConfig({ path: url }));
    await expect(started).rejects.toThrow(
      `Redis at redis+cluster://127.0.0.1:${port} has slots that no master serves; see CLUSTER INFO.`,
    );
  } finally {
    await node.remove();
  }
});
