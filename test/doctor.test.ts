import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import { diagnose } from '../src/browser/doctor/choice.ts';
import { examine } from '../src/browser/doctor/examine.ts';
import type { ProbeTools } from '../src/browser/doctor/probes.ts';
import { nameProxy } from '../src/browser/doctor/proxy.ts';
import { recipeFor } from '../src/browser/doctor/recipes.ts';
import { closedValues, writeReport } from '../src/browser/doctor/report.ts';
import type { Diagnosis, Evidence, Finding, StreamTrace } from '../src/browser/doctor/trace.ts';
import { judgeStream } from '../src/browser/doctor/verdict.ts';
import { explain } from '../src/browser/doctor/words.ts';
import { PROXY_KINDS } from '../src/chat/doctor.ts';
import { ProbePlaces } from '../src/http/doctor-places.ts';
import { DoctorCounts } from '../src/log/doctor-counts.ts';
import { Keys } from '../src/log/keys.ts';
import type { RunningServer } from '../src/server.ts';
import { ChaosProxy } from './proxies/chaos.ts';
import type { Exchange, Rule } from './proxies/habits.ts';
import { startTestRedis, type TestRedis } from './support/redis.ts';
import { Person, startTestServer, testConfig } from './support/service.ts';
import { waitFor } from './support/wait-for.ts';

// They measure time, which a machine of two cores hasn't got for many of them at once.
vi.setConfig({ maxConcurrency: 3, testTimeout: 60_000 });
/** What a busy machine may add to any wait, in ms. */
const BUSY_MS = 1500;

let redis: TestRedis;
let server: RunningServer;
let namespace: string;
beforeAll(async () => {
  redis = await startTestRedis();
  const config = testConfig(redis);
  namespace = config.namespace;
  server = await startTestServer(config);
});
afterAll(async () => {
  await server.close();
  await redis.stop();
});

const NOTHING_ARRIVES = {
  sse: 'held',
  'post-stream': 'cut',
  websocket: 'refused',
  'long-poll': 'delayed',
  'short-poll': 'arrives',
} as const;
const REPORT = { carrier: 'short-poll', verdicts: NOTHING_ARRIVES, proxy: 'squid' } as const;

describe('probes', () => {
  test.each(['GET', 'POST'])(
    'the stream by %s has the real stream’s head, and its timing',
    async (method) => {
      const person = await Person.logIn(server.url);
      const accept = method === 'POST' ? 'application/octet-stream' : 'text/event-stream';
      const ask = (path: string) =>
        fetch(server.url + path, { method, headers: { Accept: accept, Cookie: person.cookie } });
      const real = await ask('/api/stream?rooms=lobby');
      await real.body?.cancel();
      const startedAt = performance.now();
      const probe = await ask('/api/doctor/stream?seconds=2');
      const headAtMs = performance.now() - startedAt;
      const plain = (res: Response) =>
        [...res.headers].filter(([name]) => name !== 'date').map((header) => header.join(': '));
      expect(plain(probe)).toEqual(plain(real));
      expect(headAtMs).toBeLessThan(BUSY_MS);
      const body = await probe.text();
      const sent = [...body.matchAll(/^data: (.*)$/gm)].map(([, data]) => JSON.parse(data as string));
      expect(sent.map(({ n }) => n)).toEqual([0, 1, 2, 3]);
      [0, 500, 1000, 2000].forEach((dueMs, i) => {
        expect(sent[i].sentMs).toBeGreaterThanOrEqual(dueMs - 5);
        expect(sent[i].sentMs).toBeLessThan(dueMs + BUSY_MS);
      });
      expect(body).toMatch(/^: {2046}$/m);
      expect(body).not.toContain('bye');
    },
  );

  test('the poll is answered after its wait, dripping before it where that is asked for', async () => {
    const startedAt = performance.now();
    const res = await fetch(`${server.url}/api/doctor/poll?wait=2&drip=1&t=abc`);
    expect(performance.now() - startedAt).toBeLessThan(BUSY_MS);
    const text = await res.text();
    expect(text).toMatch(/^ \{/);
    expect(JSON.parse(text)).toMatchObject({ kind: 'answer', t: 'abc' });
    expect(performance.now() - startedAt).toBeGreaterThan(1990);
  });

  test('the echo tells back what proxies add, in its beginnings, and nothing else', async () => {
    const headers = {
      Via: `1.1 ${'v'.repeat(300)}`,
      Cookie: 'secret=1',
      Authorization: 'Bearer x',
      'X-Any': '1',
    };
    const body = await (await fetch(`${server.url}/api/doctor/echo`, { headers })).json();
    expect(body).toMatchObject({ kind: 'echo', httpVersion: '1.1' });
    const told = (body as { headers: Record<string, string> }).headers;
    expect(told['via']).toHaveLength(200);
    expect(Object.keys(told)).not.toEqual(expect.arrayContaining(['cookie']));
    expect(JSON.stringify(body)).not.toMatch(/secret|Bearer|x-any/);
  });

  test('the socket brings the same events, to the service’s own pages only', async () => {
    const url = `${server.url.replace('http', 'ws')}/api/doctor/socket?seconds=1`;
    const told: { kind: string; n: number }[] = [];
    const socket = new WebSocket(url, { origin: server.url });
    socket.on('message', (data) => told.push(JSON.parse(String(data))));
    const [code] = await once(socket, 'close');
    expect(code).toBe(1000);
    expect(told.map(({ kind, n }) => `${kind} ${n}`)).toEqual(['hello 0', 'heartbeat 1', 'heartbeat 2']);
    const foreign = new WebSocket(url, { origin: 'http://elsewhere.example' });
    const [error] = await once(foreign, 'error');
    expect(String(error)).toContain('403');
  });

  test.each(['stream?seconds=a', 'poll?wait=-1'])('%s is refused', async (path) => {
    expect((await fetch(`${server.url}/api/doctor/${path}`)).status).toBe(400);
  });

  test.each(['stream', 'poll', 'echo'])('HEAD of %s isn’t held', async (path) => {
    expect((await fetch(`${server.url}/api/doctor/${path}`, { method: 'HEAD' })).status).toBeLessThan(500);
  });

  test('places are bounded, come back, and end when the service stops', () => {
    const places = new ProbePlaces(2);
    let ended = 0;
    const take = () => places.take(() => ended++);
    const leave = take();
    take();
    expect(take).toThrowError(expect.objectContaining({ code: 'unavailable' }));
    leave();
    leave();
    take();
    places.endAll();
    expect(ended).toBe(2);
    expect(take).toThrowError(expect.objectContaining({ code: 'unavailable' }));
  });

  test('they work while Redis is away, and don’t hold up a stop', async () => {
    const away = await startTestRedis();
    const lonely = await startTestServer(testConfig(away, { drainMs: 20_000 }));
    await away.stop();
    const stream = await fetch(`${lonely.url}/api/doctor/stream?seconds=30`);
    const poll = fetch(`${lonely.url}/api/doctor/poll?wait=30`);
    const socket = new WebSocket(`${lonely.url.replace('http', 'ws')}/api/doctor/socket`);
    await once(socket, 'message');
    const deaf = connect(Number(new URL(lonely.url).port), '127.0.0.1');
    deaf.on('error', () => {});
    deaf.write(
      'GET /api/doctor/socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
    );
    await once(deaf, 'data');
    const closed = once(socket, 'close');
    const startedAt = performance.now();
    await Promise.all([lonely.close(), stream.text(), poll.then((res) => res.text())]);
    expect((await closed)[0]).toBe(1001);
    // One client that never answers the close frame is left after a second.
    expect(performance.now() - startedAt).toBeLessThan(5000);
    deaf.destroy();
  });
});

describe('reports', () => {
  const counts = () => new DoctorCounts(redis.client, new Keys(namespace)).read();

  test('one a minute is counted for each user, in closed fields', async () => {
    const before = await counts();
    const person = await Person.logIn(server.url);
    expect((await person.send('/api/doctor', REPORT)).status).toBe(204);
    const again = await person.send('/api/doctor', REPORT);
    expect(again.status).toBe(429);
    expect(await again.json()).toMatchObject({ error: { code: 'too_fast', retryAfter: expect.any(Number) } });
    expect((await (await Person.logIn(server.url)).send('/api/doctor', REPORT)).status).toBe(204);
    const after = await counts();
    expect((after['reports'] ?? 0) - (before['reports'] ?? 0)).toBe(2);
    expect(Object.keys(after).sort()).toEqual(
      [
        'carrier:short-poll',
        'long-poll:delayed',
        'post-stream:cut',
        'proxy:squid',
        'reports',
        'short-poll:arrives',
        'sse:held',
        'websocket:refused',
      ].sort(),
    );
  });

  test('nobody is asked to log in to examine, but to report', async () => {
    const init = { method: 'POST', headers: { 'Content-Type': 'application/json' } };
    const res = await fetch(`${server.url}/api/doctor`, { ...init, body: JSON.stringify(REPORT) });
    expect(res.status).toBe(401);
  });

  test.each([
    { ...REPORT, note: 'free text' },
    { ...REPORT, carrier: 'pigeon' },
    { ...REPORT, proxy: 'my proxy' },
    { ...REPORT, verdicts: { ...NOTHING_ARRIVES, sse: 'fine' } },
    { ...REPORT, verdicts: { ...NOTHING_ARRIVES, other: 'held' } },
    { ...REPORT, verdicts: { sse: 'held' } },
    { carrier: 'sse' },
    [],
  ])('%j isn’t counted', async (body) => {
    const person = await Person.logIn(server.url);
    const res = await person.send('/api/doctor', body);
    expect(res.status).toBe(400);
    expect(await res.json()).toMatchObject({ error: { code: 'invalid_field' } });
  });
});

const SECONDS = 6;
const onStreams = ({ path }: Exchange) => path.endsWith('/doctor/stream');
const onPolls = ({ path }: Exchange) => path.endsWith('/doctor/poll');

function tools(base: string): ProbeTools {
  return { base, fetch, WebSocket, signal: new AbortController().signal, onNews: () => {} };
}

async function examineThrough(rules: readonly Rule[]): Promise<Diagnosis> {
  const proxy = await ChaosProxy.start({ port: Number(new URL(server.url).port) }, rules);
  try {
    return await examine(tools(proxy.url), { seconds: SECONDS, shortHoldMs: 1500 }).diagnosis;
  } finally {
    await proxy.stop();
  }
}

const verdicts = (found: Diagnosis) => closedValues(found).verdicts;
const ALL_ARRIVE = {
  sse: 'arrives',
  'post-stream': 'arrives',
  websocket: 'arrives',
  'long-poll': 'arrives',
  'short-poll': 'arrives',
};

describe.concurrent('an examination', () => {
  const cases: [string, Rule[], Partial<Record<string, string>>, string][] = [
    ['finds nothing wrong where nothing is', [], {}, 'sse'],
    [
      'sees whole answers held back',
      [{ hold: 'answer' }],
      { sse: 'held', 'post-stream': 'held' },
      'websocket',
    ],
    [
      'sees bodies held back and upgrades refused',
      [{ hold: 'body', upgrades: 'refuse' }],
      { sse: 'held', 'post-stream': 'held', websocket: 'refused' },
      'long-poll',
    ],
    [
      'sees events held until the next',
      [{ on: onStreams, hold: 'writes' }],
      { sse: 'delayed', 'post-stream': 'delayed' },
      'websocket',
    ],
    [
      'sees GET held and POST let pass',
      [{ on: (one) => onStreams(one) && one.method === 'GET', hold: 'answer' }],
      { sse: 'held' },
      'post-stream',
    ],
    [
      'sees streams cut soon',
      [{ on: onStreams, cut: { afterMs: 2500, how: 'torn' } }],
      { sse: 'cut', 'post-stream': 'cut' },
      'websocket',
    ],
    [
      'sees streams end as if all had been said, late enough to be renewed',
      [{ on: onStreams, cut: { afterMs: 4600, how: 'clean' } }],
      { sse: 'cut', 'post-stream': 'cut' },
      'sse',
    ],
    [
      'sees streams forgotten without a word',
      [{ on: onStreams, blackHoleAfterMs: 2200 }],
      { sse: 'cut', 'post-stream': 'cut' },
      'websocket',
    ],
    [
      'sees who answers in the service’s place',
      [{ answer: { status: 403, html: '<h1>Blocked by your IT</h1>' }, upgrades: 'refuse' }],
      {
        sse: 'refused',
        'post-stream': 'refused',
        websocket: 'refused',
        'long-poll': 'refused',
        'short-poll': 'refused',
      },
      'none',
    ],
    [
      'sees another page in a stream’s place',
      [{ on: onStreams, answer: { status: 200, html: '<p>Welcome to our network</p>' } }],
      { sse: 'altered', 'post-stream': 'altered' },
      'websocket',
    ],
    [
      'sees compression that never flushes',
      [{ on: onStreams, gzip: true }],
      { sse: 'held', 'post-stream': 'held' },
      'websocket',
    ],
    ['sees answers out of a cache only where that hurts', [{ cacheMs: 60_000 }], {}, 'sse'],
  ];
  test.each(cases)('%s', async (_what, rules, differing, carrier) => {
    const found = await examineThrough(rules);
    expect({ ...verdicts(found), carrier: found.carrier }).toEqual({ ...ALL_ARRIVE, ...differing, carrier });
    expect(found.isSpoilt).toBe(false);
    expect(recipeFor(found).advice.length).toBeGreaterThan(0);
  });

  test('tells that polls need to drip where quiet ones are cut', async () => {
    const found = await examineThrough([{ on: onPolls, cut: { idleMs: 3200, how: 'torn' } }]);
    expect(found.findings.find(({ carrier }) => carrier === 'long-poll')).toMatchObject({
      verdict: 'arrives',
      needs: 'dripping',
    });
    expect(found.idleCutMs).toBeGreaterThan(3000);
    expect(found.idleCutMs).toBeLessThan(4500);
  });

  test('tells that polls must be short where all long ones are cut', async () => {
    const found = await examineThrough([{ on: onPolls, cut: { afterMs: 3200, how: 'torn' } }]);
    expect(found.findings.find(({ carrier }) => carrier === 'long-poll')).toMatchObject({
      verdict: 'arrives',
      needs: 'short holds',
    });
  });

  test('recognises a proxy by its own page', async () => {
    const html = '<title>ERROR</title><p>Generated by proxy (squid/6.13)</p>';
    const found = await examineThrough([{ on: onStreams, answer: { status: 503, html } }]);
    expect(found).toMatchObject({ proxy: 'squid', carrier: 'websocket' });
    expect(recipeFor(found).code).toContain('adaptation_access');
  });

  test('doesn’t blame the network for WebSockets that the service doesn’t offer', async () => {
    const without = await startTestServer(testConfig(redis, { websocket: 'off' }));
    const found = await examine(tools(without.url), { seconds: 1, shortHoldMs: 500 }).diagnosis;
    await without.close();
    expect(verdicts(found)).toEqual({ ...ALL_ARRIVE, websocket: 'refused' });
    expect(found).toMatchObject({ proxy: 'none', isSpoilt: false });
    expect(recipeFor(found).advice).toHaveLength(1);
  });

  test('says of itself that it was spoilt where the service went away meanwhile', async () => {
    const going = await startTestServer(testConfig(redis));
    const { evidence, diagnosis } = examine(tools(going.url), { seconds: SECONDS, shortHoldMs: 1500 });
    await waitFor('events', () => (evidence.streams[0] as StreamTrace).arrivals.length > 2);
    await going.close();
    expect((await diagnosis).isSpoilt).toBe(true);
  });

  test('ends where nothing listens at all', async () => {
    const gone = await startTestServer(testConfig(redis));
    await gone.close();
    const found = await examine(tools(gone.url), { seconds: SECONDS, shortHoldMs: 1500 }).diagnosis;
    expect(found.carrier).toBe('none');
    const { sse, 'long-poll': longPoll } = verdicts(found);
    expect([sse, longPoll]).toEqual(['unreachable', 'unreachable']);
  });

  test('can be given up', async () => {
    const giving = new AbortController();
    const { diagnosis } = examine(
      { ...tools(server.url), signal: giving.signal },
      { seconds: SECONDS, shortHoldMs: 1500 },
    );
    await pause(200);
    giving.abort();
    const startedAt = performance.now();
    await diagnosis;
    expect(performance.now() - startedAt).toBeLessThan(3000);
  });
});

describe('what is made of it', () => {
  const evidenceWith = (request: Record<string, string>, answer: Record<string, string>): Evidence => ({
    streams: [],
    heldPolls: [],
    shortPolls: [],
    echo: { httpVersion: '1.1', headers: request, websocket: true },
    echoAnswer: { atMs: 1, status: 200, isOurs: true, headers: answer },
  });

  test.each<[string, Record<string, string>, Record<string, string>]>([
    ['nginx', {}, { server: 'nginx/1.26.3' }],
    ['apache', { 'x-forwarded-server': 'a', 'x-forwarded-host': 'b' }, {}],
    ['apache', {}, { server: 'Apache/2.4.65 (Debian)' }],
    ['squid', { via: '1.1 proxy (squid/6.13)' }, {}],
    ['squid', { 'cache-control': 'max-age=259200' }, {}],
    ['varnish', {}, { 'x-varnish': '2' }],
    ['iis', { 'x-arr-log-id': 'x' }, {}],
    ['envoy', {}, { server: 'envoy' }],
    ['cloudflare', { 'cf-ray': 'x' }, { server: 'cloudflare' }],
    ['mitmproxy', {}, { server: 'mitmproxy 11.0' }],
    ['scanner', { 'x-bluecoat-via': 'x' }, {}],
    ['scanner', { via: '1.1 host (Zscaler)' }, {}],
    ['unknown', { 'x-forwarded-for': '10.0.0.1' }, {}],
    ['none', { connection: 'keep-alive' }, { 'content-type': 'application/json' }],
  ])('%s is recognised by %j and %j', (kind, request, answer) => {
    expect(nameProxy(evidenceWith(request, answer), true)).toBe(kind);
  });

  test('events late by a constant time, or once, are no reason to leave a carrier', () => {
    const arrivals = Array.from({ length: 27 }, (_, n) => {
      const sentMs = n < 2 ? n * 500 : (n - 1) * 1000;
      return { n, sentMs, atMs: sentMs + 400 + (n === 9 ? 3000 : 0) };
    });
    const trace: StreamTrace = {
      kind: 'stream',
      carrier: 'sse',
      seconds: 25,
      arrivals,
      strange: '',
      end: { atMs: 25_500, how: 'clean' },
    };
    expect(judgeStream(trace)).toMatchObject({ verdict: 'arrives', latencyMs: 400 });
  });

  test.each(PROXY_KINDS)('there is advice for %s, in whole sentences', (proxy) => {
    const held: Finding[] = [{ carrier: 'sse', verdict: 'held' }];
    const { advice } = recipeFor({ findings: held, carrier: 'long-poll', proxy, isSpoilt: false });
    for (const one of advice) expect(one).toMatch(/^[A-Z].*\.$/s);
    expect(advice.length).toBeGreaterThan(0);
  });

  test('the report carries no address', () => {
    const evidence = evidenceWith({ 'x-forwarded-for': '10.1.2.3', via: '1.1 proxy' }, {});
    const found = diagnose(evidence, true);
    const text = writeReport(found, evidence, { url: 'http://chat/', at: 'now', browser: 'a browser' });
    expect(text).toContain('1.1 proxy');
    expect(text).not.toContain('10.1.2.3');
  });

  test('a redirection in the service’s place is told as one', () => {
    expect(explain({ carrier: 'sse', verdict: 'refused', status: 0 })).toContain('redirection');
  });
});
