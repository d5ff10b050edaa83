import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import express from 'express';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import type { RoomKey } from '../src/chat/rooms.ts';
import { type Config, DEFAULTS } from '../src/config.ts';
import { createThroughline } from '../src/library.ts';
import { Appender } from '../src/log/append.ts';
import { Keys, type UserKey } from '../src/log/keys.ts';
import { StartError } from '../src/log/start-error.ts';
import type { RunningServer } from '../src/server.ts';
import { carriers, type Follower } from './support/carriers.ts';
import { startTestRedis, type TestRedis } from './support/redis.ts';
import { parseExposition, scrape } from './support/scrape.ts';
import { Person, startTestServer, testConfig } from './support/service.ts';
import { waitFor } from './support/wait-for.ts';

const TOKEN = 'a-token-of-the-tests';
const [sse, postStream, socket, longPoll] = carriers as [
  (typeof carriers)[number],
  (typeof carriers)[number],
  (typeof carriers)[number],
  (typeof carriers)[number],
];

let redis: TestRedis;
const running: RunningServer[] = [];
beforeAll(async () => {
  redis = await startTestRedis();
});
afterAll(async () => {
  await Promise.all(running.map((server) => server.close()));
  await redis.stop();
});

async function serve(overrides: Partial<Config> = {}) {
  const config = testConfig(redis, { metricsPort: 0, ...overrides });
  const server = await startTestServer(config);
  running.push(server);
  const person = await Person.logIn(server.url);
  const log = `${config.namespace}:{0}:log:main/lobby`;
  const journal = `${config.namespace}:{0}:journal`;
  return { config, server, person, log, journal, counts: () => countsAt(server.metricsUrl as string) };
}

/** A scrape, and its samples by name without `throughline_`. */
async function countsAt(url: string, token?: string) {
  const samples = await scrape(url, token);
  return (name: string) => {
    const value = samples.get(`throughline_${name}`);
    if (value === undefined) throw new Error(`nothing is said of ${name}`);
    return value;
  };
}

async function begun(follower: Follower): Promise<Follower> {
  await waitFor('hello', () => follower.failure !== undefined || follower.all.length > 0);
  expect(follower.failure).toBeUndefined();
  return follower;
}

describe('who may read them', () => {
  test('unless asked for, there are none', async () => {
    const { server } = await serve({ metricsPort: undefined });
    expect(server.metricsUrl).toBeUndefined();
    expect((await fetch(`${server.url}/metrics`)).status).toBe(404);
    expect(DEFAULTS.metricsHost).toBe('127.0.0.1');
  });

  test('with a token: whoever sends it; to all others it is as if there were none', async () => {
    const { server } = await serve({ metricsToken: TOKEN, basePath: '/chat' });
    const nothing = await (await fetch(`${server.url}/nothing`)).json();
    for (const authorization of [
      undefined,
      TOKEN,
      `Bearer ${TOKEN}x`,
      `Bearer ${TOKEN.slice(1)}`,
      'Bearer ',
    ]) {
      const init = authorization === undefined ? {} : { headers: { Authorization: authorization } };
      const main = await fetch(`${server.url}/metrics`, init);
      expect([authorization, main.status, await main.json()]).toEqual([authorization, 404, nothing]);
      expect((await fetch(server.metricsUrl as string, init)).status).toBe(404);
    }
    for (const url of [`${server.url}/metrics`, server.metricsUrl as string])
      expect((await scrape(url, TOKEN)).size).toBeGreaterThan(100);
    const post = await fetch(`${server.url}/metrics`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${TOKEN}` },
    });
    expect(post.status).toBe(404);
  });

  test('on a port of their own: on this machine, nothing else there, and gone with the service', async () => {
    const { server } = await serve();
    const url = server.metricsUrl as string;
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/metrics$/);
    expect((await fetch(new URL('/', url))).status).toBe(404);
    expect((await fetch(new URL('/api/session', url))).status).toBe(404);
    expect((await fetch(`${server.url}/metrics`)).status).toBe(404);
    const head = await fetch(url, { method: 'HEAD' });
    expect([head.status, await head.text()]).toEqual([200, '']);
    await scrape(url);
    await server.close();
    await expect(fetch(url)).rejects.toThrow();
  });

  test('a port that is in use is a sentence, and nothing is left running', async () => {
    const { server } = await serve();
    const { port } = new URL(server.metricsUrl as string);
    const config = testConfig(redis, { metricsPort: Number(port) });
    const before = await redis.client.client('LIST');
    const start = startTestServer(config);
    await expect(start).rejects.toThrow(StartError);
    await expect(start).rejects.toThrow(`Port ${port} of 127.0.0.1 can’t be listened on: it is in use.`);
    const count = (list: unknown) => String(list).trim().split('\n').length;
    await waitFor(
      'its connections to go',
      async () => count(await redis.client.client('LIST')) <= count(before),
    );
  });
});

describe('what they tell', () => {
  test('readers by carrier, and what each was told', async () => {
    const { person, counts, journal } = await serve();
    const followers = await Promise.all(
      [sse, postStream, socket, sse].map((carrier) => begun(carrier.follow(person, ['lobby']))),
    );
    const plain = await person.get('/plain/lobby/live', { headers: { Accept: 'text/html' } });
    expect(plain.status).toBe(200);
    for (const text of ['one', 'two', 'three']) await person.post(text);
    await person.post('once', 'lobby', 'key-of-one-message');
    await person.post('once', 'lobby', 'key-of-one-message');
    for (const follower of followers) await waitFor('all', () => follower.texts.length === 4);
    const told = await counts();
    expect(told('readers{carrier="sse"}')).toBe(2);
    for (const carrier of ['post-stream', 'websocket', 'plain']) {
      expect(told(`readers{carrier="${carrier}"}`)).toBe(1);
      expect(told(`readers_begun_total{carrier="${carrier}"}`)).toBe(1);
    }
    expect(told('readers{carrier="long-poll"}')).toBe(0);
    expect(told('posts_total{outcome="accepted"}')).toBe(4);
    expect(told('posts_total{outcome="repeated"}')).toBe(1);
    expect(told('events_told_total')).toBe(5 * 4);
    expect(told('runs_told_total')).toBeGreaterThanOrEqual(5);
    expect(told('runs_told_total')).toBeLessThanOrEqual(5 * 4);
    expect(told('delivery_latency_seconds_bucket{le="+Inf"}')).toBe(told('delivery_latency_seconds_count'));
    expect(told('delivery_latency_seconds_count')).toBeGreaterThanOrEqual(1);
    expect(told('delivery_latency_seconds_count')).toBeLessThanOrEqual(4);
    expect(told('tail_reading')).toBe(1);
    expect(told('redis_up')).toBe(1);
    expect(told('redis_round_trip_seconds')).toBeGreaterThan(0);
    expect(Math.abs(told('redis_clock_ahead_seconds'))).toBeLessThan(0.5);
    expect(told('journal_entries')).toBe(await redis.client.xlen(journal));
    expect(told('window_entries')).toBe(await redis.client.xlen(journal));
    expect(told('window_bytes')).toBeGreaterThan(0);
    expect(told('window_refills_total{reason="start"}')).toBe(1);
    expect(told('slow_readers')).toBe(0);

    await followers[0]?.cut();
    await person.send('/api/session/end', {});
    await waitFor('the ends', async () =>
      (await counts())('readers_ended_total{carrier="plain",code="session_ended"}'),
    );
    const later = await counts();
    expect(later('readers_ended_total{carrier="sse",code="left"}')).toBe(1);
    for (const carrier of ['sse', 'post-stream', 'websocket', 'plain']) {
      expect(later(`readers{carrier="${carrier}"}`)).toBe(0);
      expect(later(`readers_ended_total{carrier="${carrier}",code="session_ended"}`)).toBe(1);
    }
    for (const follower of followers) await follower.cut();
  });

  test('polls: each is a reader that begins, and ends with its answer', async () => {
    const { person, counts } = await serve();
    const { cursor } = await person.history();
    const held = longPoll.follow(person, ['lobby'], cursor);
    await waitFor('the poll', async () => (await counts())('readers{carrier="long-poll"}') === 1);
    const short = () => person.get(`/api/poll?${new URLSearchParams({ rooms: 'lobby', wait: '0' })}`);
    for (let i = 0; i < 3; i++) expect((await short()).status).toBe(200);
    const told = await counts();
    expect(told('readers_begun_total{carrier="short-poll"}')).toBe(3);
    expect(told('readers_ended_total{carrier="short-poll",code="left"}')).toBe(3);
    // Both carriers' polls say that somebody is here, and within a quarter of a lease once is enough.
    expect(told('presence_renewals_total')).toBe(1);
    await held.cut();
  });

  test('refusals by code, on whichever way they were answered', async () => {
    const { server, person, counts } = await serve();
    const refused = async (expected: number, asking: Promise<Response>) =>
      expect((await asking).status).toBe(expected);
    await refused(401, fetch(`${server.url}/api/stream?rooms=lobby`));
    await refused(200, fetch(`${server.url}/api/poll?rooms=lobby&drip=1`));
    await refused(404, person.get('/api/stream?rooms=nowhere'));
    await refused(404, person.send('/api/rooms/nowhere/messages', { text: 'x' }));
    await refused(400, person.send('/api/rooms/lobby/messages', { text: '' }));
    await refused(404, person.get('/plain/no/such'));
    await refused(
      403,
      person.send('/plain/lobby/post', { text: 'x' }, { headers: { Origin: 'http://evil.example' } }),
    );
    const webSocket = new WebSocket(`${server.url.replace('http', 'ws')}/api/socket?rooms=lobby`);
    await new Promise((resolve) => webSocket.once('error', resolve));
    const told = await counts();
    const expected = { no_session: 3, room_not_found: 2, invalid_field: 1, not_found: 1, origin_refused: 1 };
    for (const [code, count] of Object.entries(expected))
      expect([code, told(`refusals_total{code="${code}"}`)]).toEqual([code, count]);
    expect(told('refusals_total{code="internal"}')).toBe(0);
  });

  test('how late news was told, how far behind the process is, and for how long Redis lets it wait', async () => {
    const { person, counts, journal, config } = await serve();
    const follower = await begun(sse.follow(person, ['lobby']));
    await waitFor('a process that is level', async () => (await counts())('tail_lag_seconds') === 0);
    const before = (await counts())('delivery_latency_seconds_sum');
    await redis.client.client('PAUSE', 400, 'ALL');
    const asked = performance.now();
    const slow = (await counts())('redis_round_trip_seconds');
    const waited = (performance.now() - asked) / 1000;
    expect(waited - slow).toBeGreaterThan(0);
    expect(slow).toBeGreaterThan(0.25);
    // What was said while this process did nothing at all.
    const appender = new Appender(redis.client, new Keys(config.namespace), config);
    const by = { id: 'ada', name: 'Ada', guest: false };
    const said = appender.post('main/lobby' as RoomKey, 'main/ada' as UserKey, by, { text: 'late' });
    await new Promise((resolve) => setImmediate(resolve));
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 400);
    await said;
    await waitFor('it', () => follower.texts.includes('late'));
    const told = await counts();
    expect(told('tail_lag_seconds')).toBeGreaterThan(0.25);
    expect(told('delivery_latency_seconds_sum') - before).toBeGreaterThan(0.25);
    expect(told('delivery_latency_seconds_sum') - before).toBeLessThan(4);
    await waitFor('a process that is level', async () => (await counts())('tail_lag_seconds') === 0);
    expect(told('journal_entries')).toBe(await redis.client.xlen(journal));
    await follower.cut();
  });

  test('catch-ups from the window and from the log, and gaps by reason', async () => {
    const { person, counts, log } = await serve({ windowEntries: 5 });
    const { cursor: first } = await person.history();
    for (let i = 0; i < 8; i++) await person.post(`m${i}`);
    const { cursor: recent } = await person.history();
    await person.post('m8');

    const near = sse.follow(person, ['lobby'], recent);
    await waitFor('what was missed', () => near.texts.length === 1);
    await near.cut();
    let told = await counts();
    expect(told('catch_ups_total{from="window"}')).toBe(1);
    expect([told('catch_ups_total{from="log"}'), told('log_pages_read_total')]).toEqual([0, 0]);

    await person.send('/api/rooms', { room: 'quiet' });
    const untouched = await begun(sse.follow(person, ['quiet'], recent));
    await untouched.cut();
    told = await counts();
    expect(told('catch_ups_total{from="window"}')).toBe(1);

    const far = postStream.follow(person, ['lobby'], first);
    await waitFor('all', () => far.texts.length === 9);
    await far.cut();
    told = await counts();
    expect(told('catch_ups_total{from="window"}')).toBe(1);
    expect([told('catch_ups_total{from="log"}'), told('log_pages_read_total')]).toEqual([1, 1]);
    expect(told('gaps_total{reason="trimmed"}')).toBe(0);

    const lost = sse.follow(person, ['lobby'], 'no-cursor');
    await waitFor('the gap and what is left', () => lost.texts.length === 9);
    await redis.client.xtrim(log, 'MAXLEN', 2);
    const late = socket.follow(person, ['lobby'], first);
    // The window still has what its log lost.
    await waitFor('the gap and what is left', () => late.texts.length === 5);
    told = await counts();
    expect(told('gaps_total{reason="trimmed"}')).toBe(1);
    expect(told('gaps_total{reason="unknown-cursor"}')).toBe(1);
    expect(told('gaps_total{reason="rollback"}')).toBe(0);
    for (const follower of [late, lost]) await follower.cut();
  });

  test('readers whose sockets are full, and those who stall', { timeout: 90_000 }, async () => {
    const { server, person, counts } = await serve({ stallMs: 2500 });
    const raw = connect(Number(new URL(server.url).port), '127.0.0.1');
    raw.on('error', () => {});
    raw.write(`GET /api/stream?rooms=lobby HTTP/1.1\r\nHost: x\r\nCookie: ${person.cookie}\r\n\r\n`);
    await new Promise((resolve) => raw.once('data', resolve));
    raw.pause();
    const text = '€'.repeat(4000);
    await waitFor(
      'the socket to be full',
      async () => {
        await Promise.all(Array.from({ length: 100 }, () => person.post(text)));
        return (await counts())('slow_readers') === 1;
      },
      60_000,
    );
    expect((await counts())('reader_slowdowns_total')).toBeGreaterThanOrEqual(1);
    await waitFor(
      'the end',
      async () => (await counts())('readers_ended_total{carrier="sse",code="stalled"}') === 1,
    );
    expect((await counts())('slow_readers')).toBe(0);
    raw.destroy();
  });

  test('sessions found in memory, sweeps, and what browsers’ doctors found', async () => {
    const { person, counts } = await serve({ leaseMs: 1000 });
    const before = await counts();
    await person.history();
    await person.history();
    const later = await counts();
    const added = (from: string) => {
      const name = `session_lookups_total{from="${from}"}`;
      return later(name) - before(name);
    };
    expect(added('memory') + added('redis')).toBe(2);
    expect(added('memory')).toBeGreaterThanOrEqual(1);
    await person.send('/api/confirm', { rooms: ['lobby'] });
    await waitFor('the end of the lease', async () => (await counts())('presence_expired_total') === 1);
    const swept = await counts();
    expect(swept('presence_renewals_total')).toBe(1);
    expect(swept('presence_sweeps_total')).toBeGreaterThanOrEqual(1);
    const verdicts = {
      sse: 'held',
      'post-stream': 'held',
      websocket: 'refused',
      'long-poll': 'arrives',
      'short-poll': 'arrives',
    };
    await person.send('/api/doctor', { carrier: 'long-poll', verdicts, proxy: 'squid' });
    const told = await counts();
    expect(told('doctor_reports_total')).toBe(1);
    expect(told('doctor_carriers_total{carrier="long-poll"}')).toBe(1);
    expect(told('doctor_carriers_total{carrier="sse"}')).toBe(0);
    expect(told('doctor_proxies_total{kind="squid"}')).toBe(1);
    for (const [carrier, verdict] of Object.entries(verdicts))
      expect(told(`doctor_verdicts_total{carrier="${carrier}",verdict="${verdict}"}`)).toBe(1);
  });

  test('the process: memory, processor, the event loop’s lag, garbage collections', async () => {
    const { server } = await serve();
    const samples = await scrape(server.metricsUrl as string);
    expect(samples.get('process_resident_memory_bytes')).toBeGreaterThan(1e7);
    expect(samples.get('process_cpu_seconds_total')).toBeGreaterThan(0);
    for (const name of ['p50', 'p99', 'max'])
      expect(samples.get(`nodejs_eventloop_lag_${name}_seconds`)).toBeGreaterThanOrEqual(0);
    const isSeen = async () => {
      // Behind a scrape the clock of the lag starts with its next tick.
      await pause(100);
      const until = performance.now() + 300;
      while (performance.now() < until);
      await pause(50);
      const lag = (await scrape(server.metricsUrl as string)).get('nodejs_eventloop_lag_max_seconds') ?? 0;
      return lag > 0.2 && lag < 2;
    };
    await waitFor('the lag', isSeen);
  });

  test('no refusal of who left before saying its token', async () => {
    const { server, counts } = await serve();
    const webSocket = new WebSocket(`${server.url.replace('http', 'ws')}/api/socket?rooms=lobby&token=1`);
    await once(webSocket, 'open');
    webSocket.terminate();
    await once(webSocket, 'close');
    // As long as the service needs to see it.
    await pause(300);
    expect((await counts())('refusals_total{code="no_session"}')).toBe(0);
  });

  test('how long Redis takes to append posts, waits of its own included', async () => {
    const { server, person } = await serve();
    await person.post('quick');
    const [took, calls] = ['throughline_append_seconds_sum', 'throughline_append_seconds_count'];
    const quick = await scrape(server.metricsUrl as string);
    expect(quick.get(calls)).toBe(1);
    await redis.client.client('PAUSE', 1500, 'WRITE');
    await person.post('held up');
    const slow = await scrape(server.metricsUrl as string);
    expect(slow.get(calls)).toBe(2);
    expect((slow.get(took) ?? 0) - (quick.get(took) ?? 0)).toBeGreaterThan(0.3);
  });

  test('no name of a user or room, and every name is in the README', async () => {
    const { server, person } = await serve();
    await person.send('/api/rooms', { room: 'a-room-of-their-own' });
    await person.post('hello', 'a-room-of-their-own');
    const text = await (await fetch(server.metricsUrl as string)).text();
    expect(text).not.toContain('a-room-of-their-own');
    expect(text).not.toContain(person.user.name);
    const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
    const names = Array.from(text.matchAll(/^# TYPE (\S+)/gm), ([, name]) => name as string);
    expect(names.filter((name) => !readme.includes(`\`${name}`))).toEqual([]);
    const told = Array.from(
      readme.matchAll(/`((?:throughline|process|nodejs)_[a-z0-9_]+)(?![\w.])/g),
      ([, name]) => name as string,
    );
    expect(told.filter((name) => !names.includes(name.replace(/_(bucket|sum|count)$/, '')))).toEqual([]);
  });
});

test('two services in one process share no numbers', async () => {
  const one = await serve();
  const config = { ...one.config, metricsPort: 0 };
  const other = await startTestServer(config);
  running.push(other);
  const here = await begun(sse.follow(one.person, ['lobby']));
  const there = await begun(socket.follow(one.person.at(other.url), ['lobby']));
  await one.person.post('said here');
  await waitFor('both', () => here.texts.length === 1 && there.texts.length === 1);
  const [a, b] = [await one.counts(), await countsAt(other.metricsUrl as string)];
  expect([a('posts_total{outcome="accepted"}'), b('posts_total{outcome="accepted"}')]).toEqual([1, 0]);
  expect([a('events_told_total'), b('events_told_total')]).toEqual([1, 1]);
  expect([a('readers{carrier="sse"}'), b('readers{carrier="sse"}')]).toEqual([1, 0]);
  expect([a('readers{carrier="websocket"}'), b('readers{carrier="websocket"}')]).toEqual([0, 1]);
  for (const follower of [here, there]) await follower.cut();
});

test('a history that went back is a gap for every reader, and one filling of the window', async () => {
  const own = await startTestRedis();
  const server = await startTestServer(testConfig(own, { metricsPort: 0 }));
  running.push(server);
  const person = await Person.logIn(server.url);
  const followers = await Promise.all(
    [sse, socket].map((carrier) => begun(carrier.follow(person, ['lobby']))),
  );
  await person.post('soon forgotten');
  for (const follower of followers) await waitFor('it', () => follower.texts.length === 1);
  await own.client.flushall();
  for (const follower of followers)
    await waitFor('the gap', () => follower.events.some(({ kind }) => kind === 'gap'));
  const told = await countsAt(server.metricsUrl as string);
  expect(told('gaps_total{reason="rollback"}')).toBe(2);
  expect(told('window_refills_total{reason="rollback"}')).toBe(1);
  for (const follower of followers) await follower.cut();
  await server.close();
  await own.stop();
});

test('while Redis is away they say so, and nothing that only it knows', async () => {
  const own = await startTestRedis();
  const server = await startTestServer(testConfig(own, { metricsPort: 0 }));
  running.push(server);
  await own.stop();
  const url = server.metricsUrl as string;
  await waitFor('the tail to be missed', async () => (await countsAt(url))('tail_reading') === 0);
  const samples = await scrape(url);
  expect(samples.get('throughline_redis_up')).toBe(0);
  for (const name of ['redis_round_trip_seconds', 'journal_entries', 'doctor_reports_total'])
    expect([name, samples.get(`throughline_${name}`)]).toEqual([name, undefined]);
  expect(samples.get('throughline_readers{carrier="sse"}')).toBe(0);
});

test('mounted in another application: on the token’s route and on the port', async () => {
  const { namespace } = testConfig(redis);
  const chat = await createThroughline({
    user: (req) => ({ id: req.get('x-user') ?? 'somebody', name: 'Somebody' }),
    redisUrl: redis.path,
    namespace,
    basePath: '/talk',
    log: pino({ level: 'silent' }),
    metricsPort: 0,
    metricsToken: TOKEN,
  });
  const app = express();
  app.use('/talk', chat.router);
  const server = createServer(app).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/talk`;
  try {
    const posted = await fetch(`${url}/api/rooms/lobby/messages`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ text: 'hello' }),
    });
    expect(posted.status).toBe(201);
    for (const place of [`${url}/metrics`, chat.metricsUrl as string]) {
      const samples = await scrape(place, TOKEN);
      expect(samples.get('throughline_posts_total{outcome="accepted"}')).toBe(1);
      expect(samples.has('throughline_session_lookups_total{from="memory"}')).toBe(false);
    }
    expect((await fetch(`${url}/metrics`)).status).toBe(404);
  } finally {
    await chat.close();
    server.close();
  }
  await expect(fetch(chat.metricsUrl as string)).rejects.toThrow();
});

test.each([
  'throughline_x 1',
  '# TYPE throughline_x counter\nthroughline_x 1\n',
  '# TYPE x_total counter\nx_total{room=lobby} 1\n',
  '# TYPE x_total counter\nx_total undefined\n',
  '# TYPE x_total counter\nx_total 1\nx_total 2\n',
])('what is no exposition is noticed: %j', (text) => {
  expect(() => parseExposition(text)).toThrow();
});
