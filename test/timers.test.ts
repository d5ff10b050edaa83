import { createHook } from 'node:async_hooks';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { RunningServer } from '../src/server.ts';
import { carriers } from './support/carriers.ts';
import { startTestRedis, type TestRedis } from './support/redis.ts';
import { Person, startTestServer, testConfig } from './support/service.ts';
import { waitFor } from './support/wait-for.ts';

let redis: TestRedis;
let server: RunningServer | undefined;
beforeAll(async () => {
  redis = await startTestRedis();
});
afterAll(async () => {
  await server?.close();
  await redis.stop();
});

test('no timer has a fraction of a millisecond, which would keep V8 from compiling `setTimeout`', async () => {
  const delays: { ms: number; from: string }[] = [];
  const hook = createHook({
    init(_id, type, _trigger, timer) {
      if (type !== 'Timeout') return;
      // Node documents neither, but shows it to whoever looks at a timer.
      const { _idleTimeout: ms } = timer as { _idleTimeout: number };
      delays.push({ ms, from: new Error().stack?.split('\n').slice(2).join('\n') ?? '' });
    },
  }).enable();
  try {
    server = await startTestServer(testConfig(redis, { heartbeatMs: 100, leaseMs: 1500 }));
    const person = await Person.logIn(server.url);
    const followers = carriers.map((carrier) => carrier.follow(person, ['lobby']));
    await waitFor('streams', () => followers.filter(({ all }) => all.length > 0).length >= 3);
    await person.post('hello');
    const ask = (path: string) => person.get(path).then((res) => res.text());
    await Promise.all([
      ask('/api/poll?rooms=lobby&wait=0.1234'),
      ask('/api/doctor/poll?wait=0.1234'),
      ask('/api/doctor/stream?seconds=1'),
    ]);
    const stream = carriers[0]?.follow(person, ['lobby']);
    const hasBeaten = (times: number) => stream?.all.some(({ n }) => Number(n) >= times) === true;
    await waitFor('a heartbeat', () => hasBeaten(1));
    await person.post('between two');
    await waitFor('heartbeats', () => hasBeaten(3));
    for (const follower of [...followers, ...(stream ? [stream] : [])]) await follower.cut();
    await server.close();
    server = undefined;
  } finally {
    hook.disable();
  }
  expect(delays.length).toBeGreaterThan(50);
  expect(delays.filter(({ ms }) => !Number.isInteger(ms))).toEqual([]);
});
