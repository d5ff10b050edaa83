import { randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { newSite, parseSiteName, type SiteName } from '../src/chat/sites.ts';
import type { Config } from '../src/config.ts';
import { Keys } from '../src/log/keys.ts';
import { shardIndexOf, tagsOf } from '../src/log/shards.ts';
import { SiteBook } from '../src/log/site-book.ts';
import type { RunningServer } from '../src/server.ts';
import { carriers, type Follower } from './support/carriers.ts';
import { startTestRedis, type TestRedis } from './support/redis.ts';
import { scrape } from './support/scrape.ts';
import { Person, startTestServer, testConfig } from './support/service.ts';
import { Listener } from './support/talk.ts';
import { waitFor } from './support/wait-for.ts';

const SHARDS = 3;

let redis: TestRedis;
const running: RunningServer[] = [];
beforeAll(async () => {
  redis = await startTestRedis();
});
afterEach(async () => {
  await Promise.all(running.splice(0).map((server) => server.close()));
});
afterAll(() => redis.stop());

/** Two sites of each shard. */
const SITES: readonly (readonly [SiteName, SiteName])[] = Array.from({ length: SHARDS }, (_, shard) => {
  const names = Array.from({ length: 100 }, (_, i) => parseSiteName(`site-${i}`));
  return names.filter((name) => shardIndexOf(name, SHARDS) === shard).slice(0, 2) as [SiteName, SiteName];
});

/** Two processes over three shards, and somebody in two sites of each. */
async function serve(overrides: Partial<Config> = {}) {
  const config = testConfig(redis, { shards: SHARDS, ...overrides });
  const sites = new SiteBook(redis.client, new Keys(config.namespace));
  for (const site of SITES.flat()) await sites.put(newSite(site));
  for (let i = 0; i < 2; i++) running.push(await startTestServer(config));
  const [here, there] = running.map(({ url }) => url) as [string, string];
  const people: Person[] = [];
  for (const site of SITES.flat()) people.push(await Person.logIn(here, 'Ada', site));
  const keys = tagsOf(SHARDS).map((tag) => new Keys(config.namespace, tag));
  return { config, here, there, people, keys };
}

describe('shards', () => {
  test('have tags whose slots are spread evenly; of one shard it is 0', () => {
    expect(tagsOf(1)).toEqual(['0']);
    expect(tagsOf(2)).toEqual(['2', '0']);
    expect(tagsOf(3)).toEqual(['3', '1', '0']);
    for (let shards = 1; shards <= 64; shards++) {
      const tags = tagsOf(shards);
      expect([shards, new Set(tags).size]).toEqual([shards, shards]);
    }
  });

  test('have each site for good, and about as many of them each', () => {
    expect(['main', 'shop', 'club'].map((name) => shardIndexOf(parseSiteName(name), 64))).toEqual([
      21, 32, 12,
    ]);
    const counts = Array.from({ length: 8 }, () => 0);
    for (let i = 0; i < 8000; i++)
      (counts[shardIndexOf(parseSiteName(randomBytes(6).toString('hex')), 8)] as number)++;
    for (const count of counts) expect(count).toBeGreaterThan(800);
  });
});

test('over every carrier each site is told its own, once and in order, whoever drops and resumes on either process', async () => {
  const { people, here, there, keys } = await serve({ windowEntries: 8, pageEntries: 3 });
  const followed = [];
  for (const person of people) {
    const { cursor } = await person.history();
    const persons = [person.at(here), person.at(there)];
    followed.push({
      person,
      listeners: carriers.map((carrier) => new Listener(carrier, persons, ['lobby'], cursor)),
    });
  }
  for (let i = 0; i < 20; i++) {
    for (const { person } of followed) await person.at(i % 2 ? here : there).post(`${person.site} ${i}`);
    if (i % 10 === 5) for (const { listeners } of followed) for (const one of listeners) await one.drop();
  }
  for (const { person, listeners } of followed) {
    for (const listener of listeners) {
      await waitFor(`all over ${listener.name}`, () => listener.texts.length >= 20, 20_000);
      expect(listener.texts).toEqual(Array.from({ length: 20 }, (_, i) => `${person.site} ${i}`));
      expect(listener.gaps).toEqual([]);
    }
  }
  await Promise.all(followed.flatMap(({ listeners }) => listeners.map((listener) => listener.stop())));
  for (const [shard, { journal }] of keys.entries()) {
    const entries = await redis.client.xrange(journal, '-', '+');
    const told = new Set(entries.map(([, fields]) => fields[1]?.split(/[:/]/)[1]));
    expect([...told].sort()).toEqual([...(SITES[shard] as readonly string[])].sort());
  }
}, 60_000);

test('the end of a session ends what it reads in its shard, on every process', async () => {
  const { people, there } = await serve();
  const [stream] = carriers as [(typeof carriers)[0]];
  const followers = people.map((person) => stream.follow(person.at(there), ['lobby']));
  for (const follower of followers) await waitFor('hello', () => follower.all.length > 0);
  const leaving = SHARDS;
  expect((await people[leaving]?.send('/api/session/end', {}))?.status).toBe(204);
  await followers[leaving]?.done;
  expect(followers[leaving]?.events.at(-1)?.code).toBe('session_ended');
  for (const [i, person] of people.entries()) if (i !== leaving) await person.post('still here');
  for (const [i, follower] of followers.entries()) {
    if (i === leaving) continue;
    await waitFor('the others', () => follower.texts.length > 0);
    await follower.cut();
  }
});

test('a shard that lost its history tells gaps to its own readers alone', async () => {
  const { people, keys } = await serve();
  const [stream] = carriers as [(typeof carriers)[0]];
  const followers: Follower[] = [];
  for (const person of people) {
    await person.post('before');
    followers.push(stream.follow(person, ['lobby'], (await person.history()).cursor));
  }
  for (const follower of followers) await waitFor('hello', () => follower.all.length > 0);
  const lost = keys[1] as Keys;
  await redis.client.del(lost.journal, lost.epoch);
  for (const follower of followers.slice(2, 4)) {
    await waitFor('the gap', () => follower.events.length > 0);
    expect(follower.events[0]).toMatchObject({ kind: 'gap', reason: 'rollback' });
  }
  for (const person of people) await person.post('after');
  for (const [i, follower] of followers.entries()) {
    await waitFor('what follows', () => follower.texts.at(-1) === 'after');
    expect(follower.events.some(({ kind }) => kind === 'gap')).toBe(i === 2 || i === 3);
    await follower.cut();
  }
});

test('metrics are of all shards together, and the service is ready', async () => {
  const { config } = await serve();
  const server = await startTestServer({ ...config, metricsPort: 0 });
  running.push(server);
  const [stream] = carriers as [(typeof carriers)[0]];
  const followers: Follower[] = [];
  for (const site of SITES.flat()) {
    const person = await Person.logIn(server.url, 'Bob', site);
    followers.push(stream.follow(person, ['lobby']));
    await waitFor('hello', () => (followers.at(-1) as Follower).all.length > 0);
    await person.post('hi');
  }
  for (const follower of followers) await waitFor('hi', () => follower.texts.length > 0);
  const samples = await scrape(server.metricsUrl as string);
  expect(samples.get('throughline_readers{carrier="sse"}')).toBe(SITES.flat().length);
  expect(samples.get('throughline_posts_total{outcome="accepted"}')).toBe(SITES.flat().length);
  expect(samples.get('throughline_tail_reading')).toBe(1);
  expect(samples.get('throughline_window_refills_total{reason="start"}')).toBe(SHARDS);
  expect(samples.get('throughline_journal_entries')).toBe(SITES.flat().length);
  expect((await fetch(`${server.url}/readyz`)).status).toBe(200);
  for (const follower of followers) await follower.cut();
});

describe('the number of shards', () => {
  test('stays what it was at the first start, and is said', async () => {
    const config = testConfig(redis, { shards: 3 });
    await (await startTestServer(config)).close();
    await expect(startTestServer({ ...config, shards: 4 })).rejects.toThrow(
      `SHARDS is 4, but what Redis holds under ${config.namespace}:shards was begun with 3; it can’t be changed later.`,
    );
    await (await startTestServer(config)).close();
  });

  test('is one where the chat is older than the number', async () => {
    const config = testConfig(redis);
    await (await startTestServer(config)).close();
    await redis.client.del(`${config.namespace}:shards`);
    await expect(startTestServer({ ...config, shards: 2 })).rejects.toThrow('begun with 1');
    await (await startTestServer(config)).close();
  });

  test('is stored again where Redis lost everything under the service', async () => {
    const own = await startTestRedis();
    const config = testConfig(own, { shards: 2 });
    const server = await startTestServer(config);
    try {
      await own.client.flushall();
      await waitFor('the number', async () => (await own.client.get(`${config.namespace}:shards`)) === '2');
    } finally {
      await server.close();
      await own.stop();
    }
  });
});
