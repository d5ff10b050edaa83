import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { RoomKey } from '../src/chat/rooms.ts';
import type { Config } from '../src/config.ts';
import { Keys } from '../src/log/keys.ts';
import { ReplicaWriter } from '../src/log/replicated.ts';
import { Script } from '../src/log/script.ts';
import type { RunningServer } from '../src/server.ts';
import { TestCluster } from './support/redis-cluster.ts';
import type { RedisNode } from './support/redis-nodes.ts';
import { TestSentinels } from './support/redis-sentinels.ts';
import { Person, startTestServer, testConfig } from './support/service.ts';
import { saidIn, Talk } from './support/talk.ts';
import { waitFor } from './support/wait-for.ts';

const LOBBY = 'main/lobby' as RoomKey;
const REPLICAS = 2;

let redis: TestSentinels;
const running: RunningServer[] = [];
const talks: Talk[] = [];
const clusters: TestCluster[] = [];
beforeAll(async () => {
  redis = await TestSentinels.start({ replicas: REPLICAS, sentinels: 0 });
}, 60_000);
afterEach(async () => {
  for (const server of redis.servers) server.thaw();
  await Promise.all(talks.splice(0).map((talk) => talk.end()));
  await Promise.all(running.splice(0).map((server) => server.close()));
  await Promise.all(clusters.splice(0).map((cluster) => cluster.stop()));
});
afterAll(() => redis?.stop());

async function serve(path: string, overrides: Partial<Config>) {
  const config = testConfig({ path }, { durability: 'replica', ...overrides });
  for (let i = 0; i < 2; i++) running.push(await startTestServer(config));
  const [here, there] = running.map(({ url }) => url) as [string, string];
  const person = await Person.logIn(here);
  return { person, persons: [person, person.at(there)] as const, log: new Keys(config.namespace).log(LOBBY) };
}

const serveOne = (overrides: Partial<Config> = {}) =>
  serve(`redis://${redis.servers[0]?.endpoint}`, { replicas: REPLICAS, replicaWaitMs: 200, ...overrides });

async function post(person: Person, text: string, clientId: string) {
  const res = await person.send('/api/rooms/lobby/messages', { text, clientId });
  return { status: res.status, body: (await res.json()) as { id?: string; error?: { code: string } } };
}

test('a post is accepted once every replica has it, and not before: until then it is unsure, on each process', async () => {
  const { person, persons, log } = await serveOne();
  const [master, , lagging] = redis.servers as [RedisNode, RedisNode, RedisNode];
  expect((await post(person, 'one', randomUUID())).status).toBe(201);
  const clientId = randomUUID();
  lagging.freeze();
  for (const asking of [...persons, ...persons]) {
    expect(await post(asking, 'two', clientId)).toMatchObject({
      status: 503,
      body: { error: { code: 'unsure' } },
    });
  }
  const kept = await saidIn(master.client, log);
  expect(kept.map(({ text }) => text)).toEqual(['one', 'two']);
  lagging.thaw();
  const again = await post(persons[1], 'two', clientId);
  expect(again).toMatchObject({ status: 200, body: { id: kept[1]?.id } });
  expect(await saidIn(lagging.client, log)).toEqual(kept);
  expect(await post(person, 'two, changed', clientId)).toMatchObject({ status: 409 });
});

test('nothing but posts waits for a replica that lags', async () => {
  const { person } = await serveOne({ replicaWaitMs: 4000 });
  redis.servers[2]?.freeze();
  let isAnswered = false;
  const posting = post(person, 'held', randomUUID()).finally(() => {
    isAnswered = true;
  });
  expect((await person.get('/api/rooms')).status).toBe(200);
  expect((await person.send('/api/rooms', { room: 'quick' })).status).toBe(201);
  expect((await person.history()).events).toMatchObject([{ text: 'held' }]);
  expect(isAnswered).toBe(false);
  redis.servers[2]?.thaw();
  expect((await posting).status).toBe(201);
});

test('what is written together waits together', async () => {
  const [master] = redis.servers as [RedisNode];
  const waits = async () => {
    const stats = (await master.client.info('commandstats')) as string;
    return Number(/cmdstat_wait:calls=(\d+)/.exec(stats)?.[1] ?? 0);
  };
  const before = await waits();
  const writer = new ReplicaWriter(master.client, { replicas: REPLICAS, replicaWaitMs: 4000 });
  const count = new Script(`return redis.call('INCR', KEYS[1])`);
  const writes = Array.from({ length: 200 }, () => writer.write(count, ['counted'], []));
  const written = await Promise.all(writes);
  expect(written.every(({ isReplicated }) => isReplicated)).toBe(true);
  expect(written.map(({ answer }) => answer).sort()).toEqual(
    Array.from({ length: 200 }, (_, i) => i + 1).sort(),
  );
  expect((await waits()) - before).toBeLessThan(5);
});

test('a Redis that forgot the scripts, or was away, is posted to again', async () => {
  const { person } = await serveOne();
  const [master] = redis.servers as [RedisNode];
  await master.client.call('SCRIPT', 'FLUSH');
  expect((await post(person, 'one', randomUUID())).status).toBe(201);
  await master.client.call('CLIENT', 'KILL', 'TYPE', 'NORMAL', 'SKIPME', 'yes');
  const clientId = randomUUID();
  const statuses: number[] = [];
  await waitFor('it is accepted', async () => {
    const { status } = await post(person, 'two', clientId);
    statuses.push(status);
    return status < 300;
  });
  expect(statuses.slice(0, -1).every((status) => status === 503)).toBe(true);
  const { events } = await waitFor('the history', async () => {
    const res = await person.get('/api/rooms/lobby/messages');
    return res.ok ? ((await res.json()) as { events: { text: string }[] }) : undefined;
  });
  expect(events.map(({ text }) => text)).toEqual(['one', 'two']);
});

/** A Cluster whose master is killed under traffic with posts that its replica, now the master, lacks; `refusals`: those until then. */
async function killAhead(durability: 'master' | 'replica') {
  const cluster = await TestCluster.start();
  clusters.push(cluster);
  const { persons, log } = await serve(cluster.url, { durability, replicas: 1, replicaWaitMs: 300 });
  const talk = await Talk.begin(persons);
  talks.push(talk);
  await talk.untilMore(10);
  const { master, replica } = await waitFor('a replica', async () => {
    const { master, replicas } = await cluster.serving(log);
    return replicas[0] && { master, replica: replicas[0] };
  });
  await replica.loseMaster();
  await replica.client.readonly();
  const kept = await saidIn(replica.client, log);
  const answers = () => talk.accepted.length + talk.refusals.length;
  const before = answers();
  await waitFor('posts that are answered meanwhile', () => answers() >= before + 10);
  const refusals = talk.refusals;
  expect((await saidIn(master.client, log)).length).toBeGreaterThan(kept.length);
  await master.kill();
  await waitFor('the election', async () => (await replica.info('role')) === 'master', 20_000);
  expect((await saidIn(replica.client, log)).slice(0, kept.length)).toEqual(kept);
  return { talk, log, master, replica, refusals };
}

test('a Cluster’s master killed with what its replica lacks takes no accepted post with it: what it takes was unsure', async () => {
  const { talk, log, master, replica, refusals } = await killAhead('replica');
  expect(refusals.length).toBeGreaterThan(0);
  expect(refusals.every((code) => code === 'unsure')).toBe(true);
  // Its own replica is gone: until there is one again, nobody is promised anything.
  const unsure = () => talk.refusals.filter((code) => code === 'unsure').length;
  const [sure, before] = [talk.accepted, unsure()];
  await waitFor('unsure', () => unsure() >= before + 4);
  expect(talk.accepted).toEqual(sure);
  await master.restart();
  await talk.untilMore(10);
  await talk.hush();
  const all = await saidIn(replica.client, log);
  expect(all.map(({ text }) => text).sort()).toEqual(talk.accepted.sort());
  await talk.expectAllTold(all);
}, 60_000);

test('where the master alone must have a post, the same takes accepted posts with it', async () => {
  const { talk, log, replica, refusals } = await killAhead('master');
  expect(refusals).toEqual([]);
  await talk.untilMore(10);
  await talk.hush();
  const all = await saidIn(replica.client, log);
  const texts = all.map(({ text }) => text);
  expect(talk.accepted.filter((text) => !texts.includes(text))).not.toEqual([]);
  await talk.expectAllTold(all);
}, 60_000);
