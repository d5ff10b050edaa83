import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { RoomKey } from '../src/chat/rooms.ts';
import { connect } from '../src/log/connections.ts';
import { Keys } from '../src/log/keys.ts';
import { parseRedisAddress } from '../src/log/redis-address.ts';
import type { RunningServer } from '../src/server.ts';
import { TestSentinels } from './support/redis-sentinels.ts';
import { Person, startTestServer, testConfig } from './support/service.ts';
import { saidIn, Talk } from './support/traffic.ts';
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
  return { talk, log: new Keys(config.namespace).log(LOBBY) };
}

test('where the Sentinels change masters under traffic, all that is left is told once and in order, and it goes on', async () => {
  const { talk, log } = await serve();
  await talk.untilMore(10);
  const before = await redis.master();
  await redis.failOver();
  const after = await waitFor('the new master', async () => {
    const named = await redis.master();
    return named !== before && (await named.info('role')) === 'master' ? named : undefined;
  });
  await talk.untilMore(10);
  await talk.hush();
  const all = await saidIn(after.client, log);
  const texts = all.map(({ text }) => text);
  expect(new Set(texts).size).toBe(texts.length);
  await talk.expectAllTold(all);
  const isLost = talk.accepted.some((text) => !texts.includes(text));
  if (isLost) expect(talk.gaps.length).toBeGreaterThan(0);
});

test('a master killed under traffic is replaced: what was refused meanwhile is accepted later, once', async () => {
  const { talk, log } = await serve();
  await talk.untilMore(10);
  const before = await redis.master();
  await before.kill();
  const after = await waitFor(
    'the new master',
    async () => {
      const named = await redis.master();
      return named !== before && (await named.info('role').catch(() => '')) === 'master' ? named : undefined;
    },
    20_000,
  );
  await talk.untilMore(10);
  await talk.hush();
  expect(talk.refusals.length).toBeGreaterThan(0);
  const all = await saidIn(after.client, log);
  const texts = all.map(({ text }) => text);
  expect(new Set(texts).size).toBe(texts.length);
  await talk.expectAllTold(all);
  const lost = talk.accepted.filter((text) => !texts.includes(text));
  if (lost.length > 0) expect(talk.gaps.length).toBeGreaterThan(0);
});

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
