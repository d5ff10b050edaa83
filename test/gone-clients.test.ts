import { connect } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { MAIN_SITE } from '../src/chat/sites.ts';
import { ApiKeys } from '../src/log/api-keys.ts';
import { Keys } from '../src/log/keys.ts';
import type { RunningServer } from '../src/server.ts';
import { startTestRedis, type TestRedis } from './support/redis.ts';
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

/** Sends a request, or several at once, and hangs up before they are answered. */
async function askAndLeave(requests: readonly string[], headers: string): Promise<void> {
  const socket = connect(Number(new URL(server.url).port), '127.0.0.1');
  socket.on('error', () => {});
  for (const path of requests) socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n${headers}\r\n\r\n`);
  await pause(LEAVE_MS);
  socket.destroy();
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
  const paths = ['/api/stream?rooms=lobby', '/api/poll?rooms=lobby', '/api/poll?rooms=lobby&wait=0&drip=1'];
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
  const paths = ['/api/poll?rooms=lobby&wait=20', '/api/poll?rooms=lobby&wait=20', '/api/stream?rooms=lobby'];
  await askAndLeave(paths, `Cookie: ${ada.cookie}`);
  await waitFor('nobody', () => server.readers === 0, 2000);
});

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
