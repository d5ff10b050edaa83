import { randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { freePort } from './support/free-port.ts';
import { startTestRedis, type TestRedis } from './support/redis.ts';
import { type Samples, scrape } from './support/scrape.ts';
import { Person } from './support/service.ts';
import { childrenOf, ServiceProcess } from './support/service-process.ts';
import { waitFor } from './support/wait-for.ts';

const TOKEN = 'a-token-of-the-tests';
const POSTS = 'throughline_posts_total{outcome="accepted"}';
const OBSERVED = 'throughline_delivery_latency_seconds_count';

let redis: TestRedis;
let redisPort: number;
const cleanUps: (() => unknown)[] = [];
beforeAll(async () => {
  redisPort = await freePort();
  redis = await startTestRedis(redisPort);
});
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});
afterAll(() => redis.stop());

const linesOf = ({ out }: ServiceProcess, sentence: string) => out.split(JSON.stringify(sentence)).length - 1;

async function serve(env: Record<string, string> = {}) {
  const service = new ServiceProcess([], {
    WORKERS: '2',
    PORT: '0',
    REDIS_URL: `redis://127.0.0.1:${redisPort}`,
    NAMESPACE: `t${randomBytes(6).toString('hex')}`,
    LOG_LEVEL: 'info',
    METRICS_PORT: '0',
    METRICS_TOKEN: TOKEN,
    ...env,
  });
  cleanUps.push(async () => service.hasExited || (await service.kill('SIGKILL')));
  const url = await service.url();
  const untilListened = (count: number) =>
    waitFor('workers', () => linesOf(service, 'a worker listens') >= count, 20_000);
  await untilListened(2);
  const metricsUrl = /"url":"([^"]+)","msg":"the metrics are told there"/.exec(service.out)?.[1] as string;
  const person = await Person.logIn(url);
  /** Each on a connection of its own, so that both workers have their part. */
  const post = async (count: number) => {
    for (let i = 0; i < count; i++) {
      const res = await person.send(
        '/api/rooms/lobby/messages',
        { text: `${i}` },
        { headers: { Connection: 'close' } },
      );
      expect(res.status).toBe(201);
    }
  };
  return {
    service,
    url,
    metricsUrl,
    person,
    post,
    untilListened,
    onPort: () => scrape(metricsUrl, TOKEN),
    workers: () =>
      childrenOf(service.child.pid).flatMap(({ pid, command }) => (command.endsWith(' worker') ? [pid] : [])),
  };
}

const workersIn = (samples: Samples) => [
  samples.get('throughline_workers_wanted'),
  samples.get('throughline_workers'),
  samples.get('throughline_workers_answering'),
];

describe('the metrics of two workers', () => {
  test('are those of one service, on the port and whichever worker is asked', async () => {
    const { url, metricsUrl, post, onPort, service, workers, person } = await serve();
    await post(10);
    const stop = new AbortController();
    const streams = Array.from({ length: 4 }, () =>
      fetch(`${url}/api/stream?rooms=lobby`, {
        headers: { Cookie: person.cookie, Connection: 'close' },
        signal: stop.signal,
      }),
    );
    for (const res of await Promise.all(streams)) expect(res.status).toBe(200);
    const init = { headers: { Authorization: `Bearer ${TOKEN}`, Connection: 'close' } };
    expect((await fetch(`${url}/metrics`)).status).toBe(404);
    expect((await fetch(metricsUrl)).status).toBe(404);
    for (let i = 0; i < 4; i++) {
      expect((await fetch(`${url}/metrics`, init)).status).toBe(200);
      for (const samples of [await scrape(`${url}/metrics`, TOKEN), await onPort()]) {
        expect(workersIn(samples)).toEqual([2, 2, 2]);
        expect(samples.get(POSTS)).toBe(10);
        expect(samples.get('throughline_readers{carrier="sse"}')).toBe(4);
        expect(samples.get('throughline_tail_reading')).toBe(1);
        expect(samples.get('throughline_redis_up')).toBe(1);
        expect(samples.get('throughline_doctor_reports_total')).toBe(0);
        expect(samples.get('throughline_journal_entries')).toBeLessThan(40);
        expect(samples.get('process_start_time_seconds')).toBeLessThan(Date.now() / 1000);
      }
    }
    expect(workers()).toHaveLength(2);
    stop.abort();
    const pids = workers();
    expect(await service.kill('SIGTERM')).toBe(0);
    expect(pids).toHaveLength(2);
    await expect(fetch(metricsUrl)).rejects.toThrow();
  }, 60_000);

  test('don’t go back when a worker is killed', async () => {
    const { post, onPort, untilListened, workers } = await serve();
    await post(10);
    const before = await onPort();
    const [first, second] = workers();
    process.kill(first as number, 'SIGKILL');
    await untilListened(3);
    expect((await onPort()).get(POSTS)).toBe(10);
    process.kill(second as number, 'SIGKILL');
    await untilListened(4);
    await post(5);
    const after = await onPort();
    expect(workersIn(after)).toEqual([2, 2, 2]);
    expect(after.get(POSTS)).toBe(15);
    expect(after.get('throughline_readers{carrier="sse"}')).toBe(0);
    for (const [name, count] of before)
      if (/_total\b|_bucket\b|_count\b|_sum\b/.test(name))
        expect([name, after.get(name)]).toEqual([name, expect.toSatisfy((now: number) => now >= count)]);
    expect(after.has(OBSERVED)).toBe(true);
  }, 60_000);

  test('miss nothing that was counted before a rolling restart, scraped meanwhile or not', async () => {
    const { post, onPort, service, workers } = await serve();
    await post(10);
    const first = workers();
    service.child.kill('SIGHUP');
    const isRestarted = () => linesOf(service, 'all workers were restarted') > 0;
    let least = 1;
    await waitFor(
      'the new workers',
      async () => {
        least = Math.min(least, (await onPort()).get('throughline_tail_reading') ?? 0);
        return isRestarted();
      },
      60_000,
    );
    await waitFor('the old ones to end', () => !workers().some((pid) => first.includes(pid)), 100_000);
    const samples = await onPort();
    expect(workersIn(samples)).toEqual([2, 2, 2]);
    expect(samples.get(POSTS)).toBe(10);
    expect(least).toBe(1);
  }, 150_000);

  test('are told in time while a worker hangs, which is said, and whole again once it goes on', async () => {
    const { post, onPort, workers } = await serve();
    await post(10);
    expect((await onPort()).get(POSTS)).toBe(10);
    const [stopped] = workers();
    process.kill(stopped as number, 'SIGSTOP');
    cleanUps.push(() => process.kill(stopped as number, 'SIGCONT'));
    for (let i = 0; i < 3; i++) {
      const startedAt = performance.now();
      const samples = await onPort();
      expect(performance.now() - startedAt).toBeLessThan(4000);
      expect(workersIn(samples)).toEqual([2, 2, 1]);
      expect(samples.get(POSTS)).toBe(10);
      expect(samples.get('throughline_tail_reading')).toBe(1);
    }
    process.kill(stopped as number, 'SIGCONT');
    await waitFor('both', async () => (await onPort()).get('throughline_workers_answering') === 2);
    expect((await onPort()).get(POSTS)).toBe(10);
  }, 60_000);
});

test('a port that is in use is a sentence, and nothing is left running', async () => {
  const { metricsUrl } = await serve();
  const service = new ServiceProcess([], {
    WORKERS: '2',
    PORT: '0',
    REDIS_URL: `redis://127.0.0.1:${redisPort}`,
    METRICS_PORT: new URL(metricsUrl).port,
  });
  cleanUps.push(async () => service.hasExited || (await service.kill('SIGKILL')));
  expect(await service.exit).toBe(1);
  expect(service.err).toMatch(/^Port \d+ of 127\.0\.0\.1 can’t be listened on: it is in use\.\n$/);
});
