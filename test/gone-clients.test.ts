import { connect, type Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { MAIN_SITE, parseSite } from '../src/chat/sites.ts';
import { ApiKeys } from '../src/log/api-keys.ts';
import { Keys } from '../src/log/keys.ts';
import { SiteBook } from '../src/log/site-book.ts';
import type { RunningServer } from '../src/server.ts';
import { startTestRedis, type TestRedis } from './support/redis.ts';
import { scrape } from './support/scrape.ts';
import { Person, startTestServer, testConfig } from './support/service.ts';
import { waitFor } from './support/wait-for.ts';

/** Redis is made to wait so long, and clients leave so soon. */
const STALL_MS = 400;
const LEAVE_MS = 50;
/** So many probes there may be at once, and some more. */
const ALL_PLACES = 220;
const FREE_PLACES = 190;

let redis: TestRedis;
let server: RunningServer;
let key: string;
let ada: Person;

beforeAll(async () => {
  redis = await startTestRedis();
  const config = testConfig(redis);
  const book = new ApiKeys(redis.client, new Keys(config.namespace));
  key = (await book.create(MAIN_SITE, { name: 'Orders', scopes: ['history'] })).secret;
  server = await startTestServer(config);
  ada = await Person.logIn(server.url);
});
afterEach(async () => {
  await redis.client.client('UNPAUSE');
});
afterAll(async () => {
  await server.close();
  await redis.stop();
});

/** How a client leaves: it ends its half of the connection, or resets it. */
const LEAVING = {
  ends: (socket: Socket) => void socket.destroy(),
  resets: (socket: Socket) => void socket.resetAndDestroy(),
};

interface Leaving {
  readonly until?: () => Promise<unknown>;
  readonly url?: string;
  readonly leave?: (socket: Socket) => void;
}

/** Sends a request, or several at once, and hangs up before they are answered. */
async function askAndLeave(
  requests: readonly string[],
  headers: string,
  { until = () => pause(LEAVE_MS), url = server.url, leave = LEAVING.ends }: Leaving = {},
): Promise<void> {
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  socket.on('error', () => {});
  for (const path of requests) socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n${headers}\r\n\r\n`);
  await until();
  leave(socket);
}

/** Whether nearly all places are free: so many probes at once are let in. */
async function areFree(): Promise<boolean> {
  const answers = await Promise.all(
    Array.from({ length: FREE_PLACES }, () => fetch(`${server.url}/api/doctor/poll?wait=0`)),
  );
  await Promise.all(answers.map((answer) => answer.text()));
  return answers.every(({ status }) => status === 200);
}

test('no reader stays of a client that left while Redis was asked who it is', async () => {
  await redis.client.client('PAUSE', STALL_MS, 'ALL');
  const credentials = [
    `Authorization: Bearer ${key}`,
    `Cookie: ${ada.cookie}\r\nOrigin: https://elsewhere.example`,
  ];
  const paths = [
    '/api/stream?rooms=lobby',
    '/api/poll?rooms=lobby',
    '/api/poll?rooms=lobby&wait=0&drip=1',
    '/plain/lobby/live',
  ];
  await Promise.all(credentials.flatMap((who) => paths.map((path) => askAndLeave([path], who))));
  await pause(STALL_MS);
  expect((await ada.get('/api/session')).status).toBe(200);
  await waitFor('nobody', () => server.readers === 0, 2000);
});

test('a probe’s place is given back where its client left before it was taken', async () => {
  await redis.client.client('PAUSE', 3 * STALL_MS, 'ALL');
  const foreign = 'Origin: https://elsewhere.example';
  const probes = ['/api/doctor/stream?site=nowhere', '/api/doctor/poll?site=nowhere&drip=1&wait=30'];
  await Promise.all(
    Array.from({ length: ALL_PLACES }, (_, i) => askAndLeave([probes[i % 2] as string], foreign)),
  );
  await pause(3 * STALL_MS);
  // Those that were stalled are through by then.
  expect((await ada.get('/api/session')).status).toBe(200);
  await waitFor('the places', areFree, 2000);
});

test('a probe’s place is given back where its client left with requests in a queue', async () => {
  await askAndLeave(
    Array.from({ length: ALL_PLACES }, () => '/api/doctor/poll?wait=30'),
    '',
  );
  await waitFor('the places', areFree, 2000);
});

test('no reader stays of a client that left with requests in a queue', async () => {
  const poll = '/api/poll?rooms=lobby&wait=20';
  const paths = [poll, poll, '/api/stream?rooms=lobby', '/plain/lobby/live'];
  const haveEntered = () => waitFor('all four', () => server.readers === paths.length);
  await askAndLeave(paths, `Cookie: ${ada.cookie}`, { until: haveEntered });
  await waitFor('nobody', () => server.readers === 0, 2000);
});

test('no reader stays of a client that left with requests in a queue while Redis was asked for the room', async () => {
  await redis.client.client('PAUSE', STALL_MS, 'ALL');
  await askAndLeave(['/plain/lobby/live', '/plain/lobby/live'], `Cookie: ${ada.cookie}`);
  await pause(STALL_MS);
  // Both have been told of it by then.
  expect((await ada.get('/api/rooms/lobby')).status).toBe(200);
  await waitFor('nobody', () => server.readers === 0, 2000);
});

test.each(['/api/stream?rooms=lobby', '/api/poll?rooms=lobby', '/plain/lobby/live'])(
  'no reader stays of a client that leaves while it waits for news: %s',
  async (path) => {
    const leaving = new AbortController();
    const init = { signal: leaving.signal, headers: { Cookie: ada.cookie } };
    const answer = fetch(server.url + path, init).catch(() => {});
    await waitFor('the reader', () => server.readers === 1, 2000);
    if (!path.includes('poll')) await answer;
    leaving.abort();
    await waitFor('nobody', () => server.readers === 0, 2000);
  },
);

/** A handshake of a WebSocket, from a page of that origin. */
const handshake = ({ cookie }: Person, origin?: string): string =>
  [
    `Cookie: ${cookie}`,
    ...(origin === undefined ? [] : [`Origin: ${origin}`]),
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  ].join('\r\n');

/** What a service has counted as refused. */
async function refusalsOf({ metricsUrl }: RunningServer): Promise<[string, number][]> {
  const told = [...(await scrape(metricsUrl as string))];
  return told.filter(([name, n]) => name.startsWith('throughline_refusals_total') && n > 0);
}

/** From now on cursors of another history can’t be judged there: whoever comes with one stays until it is ended. */
async function stopJudging(namespace: string): Promise<void> {
  await redis.client.acl('SETUSER', 'default', '-xrevrange');
  await redis.client.set(`${namespace}:{0}:epoch`, 'another');
}

test.each(['ends', 'resets'] as const)(
  'a client that left while the origin of its WebSocket was looked up is neither a reader nor refused: it %s the connection',
  async (how) => {
    const config = testConfig(redis, { metricsPort: 0 });
    const first = await startTestServer(config);
    // It knows nothing of the site yet, so it must ask Redis.
    const other = await startTestServer(config);
    try {
      const origin = 'https://shop.example';
      const sites = new SiteBook(redis.client, new Keys(config.namespace));
      await sites.put(parseSite({ site: 'shop', origins: [origin] }));
      const eve = await Person.logIn(first.url, 'Eve', 'shop');
      await stopJudging(config.namespace);
      await redis.client.client('PAUSE', STALL_MS, 'ALL');
      const socket = '/api/socket?site=shop&rooms=lobby&after=unheard.5-0';
      const paths = [socket, `${socket}&token=1`, '/api/doctor/socket?site=shop'];
      const leaving = { url: other.url, leave: LEAVING[how] };
      await Promise.all(paths.map((path) => askAndLeave([path], handshake(eve, origin), leaving)));
      await pause(STALL_MS);
      expect((await eve.at(other.url).get('/api/rooms/lobby')).status).toBe(200);
      await waitFor('nobody', () => other.readers === 0, 2000);
      expect(await refusalsOf(other)).toEqual([]);
    } finally {
      await redis.client.client('UNPAUSE');
      await redis.client.acl('SETUSER', 'default', '+xrevrange');
      await Promise.all([first.close(), other.close()]);
    }
  },
);

test.each(['ends', 'resets'] as const)(
  'a client that left before its WebSocket was accepted is neither a reader any more nor refused: it %s the connection',
  async (how) => {
    const config = testConfig(redis, { metricsPort: 0 });
    const own = await startTestServer(config);
    try {
      const eve = await Person.logIn(own.url, 'Eve');
      await stopJudging(config.namespace);
      const until = () => waitFor('the reader', () => own.readers === 1, 2000);
      const path = '/api/socket?rooms=lobby&after=unheard.5-0';
      await askAndLeave([path], handshake(eve), { until, url: own.url, leave: LEAVING[how] });
      await waitFor('nobody', () => own.readers === 0, 2000);
      // What waited to judge its cursor is over when it has tried once more.
      await pause(700);
      expect(await refusalsOf(own)).toEqual([]);
    } finally {
      await redis.client.acl('SETUSER', 'default', '+xrevrange');
      await own.close();
    }
  },
);

test('a probe that has ended is let go of, though its answer waits for its turn', async () => {
  const faults: unknown[] = [];
  const note = (error: unknown) => void faults.push(error);
  process.on('uncaughtException', note);
  const socket = connect(Number(new URL(server.url).port), '127.0.0.1');
  socket.on('error', () => {});
  try {
    const ask = (path: string) => socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`);
    ask('/api/doctor/stream?seconds=5');
    for (let i = 0; i < ALL_PLACES; i++) ask('/api/doctor/poll?wait=0&drip=1');
    await pause(3000);
    expect(faults).toEqual([]);
    await waitFor('the places', areFree, 2000);
  } finally {
    socket.destroy();
    process.off('uncaughtException', note);
  }
});
