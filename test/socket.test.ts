import { once } from 'node:events';
import { createServer, request } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import express from 'express';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import type { Config } from '../src/config.ts';
import { createThroughline } from '../src/library.ts';
import type { RunningServer } from '../src/server.ts';
import { startTestRedis, type TestRedis } from './support/redis.ts';
import { Person, startTestServer, testConfig, type WireEvent } from './support/service.ts';
import { waitFor } from './support/wait-for.ts';

let redis: TestRedis;
const running: RunningServer[] = [];
beforeAll(async () => {
  redis = await startTestRedis();
});
afterAll(async () => {
  await Promise.all(running.map((server) => server.close()));
  await redis.stop();
});

async function serve(overrides: Partial<Config> = {}, processes = 1) {
  const config = testConfig(redis, overrides);
  const servers: RunningServer[] = [];
  for (let i = 0; i < processes; i++) servers.push(await startTestServer(config));
  running.push(...servers);
  const url = (servers[0] as RunningServer).url;
  return { config, servers, url, urls: servers.map((server) => server.url), person: await Person.logIn(url) };
}

/** An open socket, what it was told and how it was closed. */
function open(url: string, headers: Record<string, string>, query = 'rooms=lobby') {
  const webSocket = new WebSocket(`${url.replace(/^http/, 'ws')}/api/socket?${query}`, { headers });
  const heard: WireEvent[] = [];
  const closed = new Promise<{ code: number; reason: string }>((resolve, reject) => {
    webSocket.once('close', (code, reason) => resolve({ code, reason: String(reason) }));
    webSocket.once('error', reject);
  });
  webSocket.on('message', (data, isBinary) => {
    expect(isBinary).toBe(false);
    heard.push(JSON.parse(String(data)) as WireEvent);
  });
  const hello = () => waitFor('hello', () => heard.find(({ kind }) => kind === 'hello'));
  return { webSocket, heard, closed, hello };
}

/** How an upgrade is answered that isn't taken. */
async function refusalOf(url: string, headers: Record<string, string>, path = '/api/socket?rooms=lobby') {
  const req = request(`${url}${path}`, {
    headers: {
      Connection: 'Upgrade',
      Upgrade: 'websocket',
      'Sec-WebSocket-Version': '13',
      'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
      ...headers,
    },
  });
  req.end();
  const [res] = await Promise.race([once(req, 'response'), once(req, 'upgrade')]);
  if (res.statusCode === 101) {
    req.destroy();
    return { status: 101, code: undefined };
  }
  let body = '';
  for await (const chunk of res) body += chunk;
  expect(res.headers).toMatchObject({
    throughline: '1',
    'content-type': 'application/json; charset=utf-8',
    'cache-control': 'no-store, no-transform',
  });
  const { error } = JSON.parse(body) as { error: { code: string; field?: string } };
  return { status: res.statusCode as number, ...error, retryAfter: res.headers['retry-after'] };
}

describe('a WebSocket', () => {
  test('begins with a hello that names its lease and cursor, and is proven by a first heartbeat', async () => {
    const { person, url } = await serve({ heartbeatMs: 300, leaseMs: 7000 });
    const { cursor } = await person.history();
    const { heard, webSocket } = open(url, { Cookie: person.cookie }, `rooms=lobby&after=${cursor}`);
    await waitFor('two heartbeats', () => heard.filter(({ kind }) => kind === 'heartbeat').length === 2);
    expect(heard[0]).toEqual({
      kind: 'hello',
      nonce: expect.stringMatching(/^[A-Za-z0-9_-]{22}$/),
      heartbeat: 300,
      lease: 7000,
      cursor,
    });
    expect(heard.slice(1)).toEqual([1, 2].map((n) => ({ kind: 'heartbeat', n, cursor })));
    const id = await person.post('häppy 👋');
    const message = await waitFor('the message', () => heard.find(({ kind }) => kind === 'message'));
    expect(message).toMatchObject({ id, text: 'häppy 👋', cursor: `${cursor.split('.')[0]}.${id}` });
    webSocket.terminate();
  });

  test('carries texts of every frame size whole', async () => {
    const { person, url } = await serve();
    const { heard, webSocket, hello } = open(url, { Cookie: person.cookie });
    await hello();
    const texts = ['x', 'y'.repeat(100), 'z'.repeat(4000), '💬'.repeat(4000), '☃'.repeat(3999)];
    for (const text of texts) await person.post(text);
    await waitFor('all', () => heard.filter(({ kind }) => kind === 'message').length === texts.length);
    expect(heard.filter(({ kind }) => kind === 'message').map(({ text }) => text)).toEqual(texts);
    webSocket.terminate();
  });

  test('answers pings', async () => {
    const { person, url } = await serve();
    const { webSocket, hello } = open(url, { Cookie: person.cookie });
    await hello();
    webSocket.ping('here?');
    expect(String((await once(webSocket, 'pong'))[0])).toBe('here?');
    webSocket.terminate();
  });

  test('ends for good when its session does, on another process too: bye, then 1008', async () => {
    const { person, urls } = await serve({}, 2);
    const { heard, closed, hello } = open(urls[1] as string, { Cookie: person.cookie });
    await hello();
    await person.send('/api/session/end', {});
    expect(await closed).toEqual({ code: 1008, reason: 'session_ended' });
    expect(heard.at(-1)).toEqual({ kind: 'bye', code: 'session_ended' });
  });

  test('is told to come back when the service stops, which waits for no client that doesn’t close: bye, then 1001', async () => {
    const { person, servers, url } = await serve({ drainMs: 20_000 });
    const { heard, closed, hello } = open(url, { Cookie: person.cookie });
    const deaf = connect(Number(new URL(url).port), '127.0.0.1');
    deaf.on('error', () => {});
    deaf.write(
      `GET /api/socket?rooms=lobby HTTP/1.1\r\nHost: x\r\nCookie: ${person.cookie}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`,
    );
    await Promise.all([hello(), once(deaf, 'data')]);
    const startedAt = performance.now();
    await (servers[0] as RunningServer).close();
    expect(performance.now() - startedAt).toBeLessThan(3000);
    expect((await closed).code).toBe(1001);
    expect(heard.at(-1)).toMatchObject({ kind: 'bye', code: 'shutting_down', retry: expect.any(Number) });
    deaf.destroy();
  });

  test('ends at its age limit with bye, then 1000', async () => {
    const { person, url } = await serve({ streamMaxAgeMs: 600 });
    const { heard, closed } = open(url, { Cookie: person.cookie });
    expect((await closed).code).toBe(1000);
    expect(heard.at(-1)).toMatchObject({ kind: 'bye', code: 'max_age' });
  });

  test('that its client must confirm ends when it doesn’t, and lives while it does, in its own frames', async () => {
    const { person, url } = await serve({ heartbeatMs: 200, confirmMs: 700, leaseMs: 1500 });
    const [silent, confirming] = [1, 2].map(() =>
      open(url, { Cookie: person.cookie }, 'rooms=lobby&confirm=1'),
    ) as [ReturnType<typeof open>, ReturnType<typeof open>];
    const { nonce } = await confirming.hello();
    const confirm = () =>
      confirming.webSocket.send(JSON.stringify({ kind: 'confirm', nonce, rooms: ['lobby'] }));
    confirm();
    expect((await silent.closed).code).toBe(1000);
    expect(silent.heard.at(-1)).toMatchObject({ kind: 'bye', code: 'not_confirmed' });
    expect(confirming.heard.at(-1)?.kind).not.toBe('bye');
    // It confirmed once: a client that has crashed since is read to for a lease and a half at most.
    const silentSince = performance.now();
    await confirming.closed;
    expect(confirming.heard.at(-1)).toMatchObject({ kind: 'bye', code: 'not_confirmed' });
    expect(performance.now() - silentSince).toBeLessThan(1500 * 1.5 + 500);
  });

  test.each([
    ['a binary frame', Buffer.from('{"kind":"confirm"}'), 1003],
    ['what is no JSON', 'hello', 1007],
    ['another kind', '{"kind":"message","text":"hi"}', 1007],
    ['a field too many', '{"kind":"confirm","nonce":"0123456789abcdef","x":1}', 1007],
    ['a room that can’t be one', '{"kind":"confirm","rooms":["../x"]}', 1007],
    ['more than 4 KB', `{"kind":"confirm","rooms":["${'x'.repeat(5000)}"]}`, 1009],
  ])('is closed at %s', async (_what, frame, code) => {
    const { person, url } = await serve();
    const { webSocket, closed, hello } = open(url, { Cookie: person.cookie });
    await hello();
    webSocket.send(frame);
    expect((await closed).code).toBe(code);
  });

  test('that takes nothing is not written to and falls behind; one that stalls is ended', async () => {
    const { person, url } = await serve({
      stallMs: 1500,
      windowEntries: 20,
      windowBytes: 200_000,
      pageEntries: 8,
    });
    const { cursor } = await person.history();
    const slow = open(url, { Cookie: person.cookie }, `rooms=lobby&after=${cursor}`);
    const stalled = Array.from({ length: 12 }, () => open(url, { Cookie: person.cookie }));
    await Promise.all([slow, ...stalled].map(({ hello }) => hello()));
    for (const { webSocket } of stalled) webSocket.pause();
    let ticks = 0;
    const hesitating = setInterval(() => {
      if (ticks++ % 4 === 0) slow.webSocket.resume();
      else slow.webSocket.pause();
    }, 100);
    const before = process.memoryUsage().rss;
    const text = '💬'.repeat(3900);
    for (let i = 0; i < 800; i++) await person.post(`${i} ${text}`);
    // 12 readers × 12 MB would be 150 MB if they were buffered for; the sockets’ own buffers are the kernel’s.
    expect(process.memoryUsage().rss - before).toBeLessThan(100 * 1024 * 1024);
    clearInterval(hesitating);
    slow.webSocket.resume();
    // What was sent before is read first, and whoever reads in time wasn't stalled.
    await new Promise((resolve) => setTimeout(resolve, 3000));
    for (const { webSocket } of stalled) webSocket.resume();
    expect(await Promise.all(stalled.map(({ closed }) => closed))).toEqual(
      stalled.map(() => ({ code: 1006, reason: '' })),
    );
    const told = () => slow.heard.filter(({ kind }) => kind === 'message').map(({ n }) => n);
    await waitFor('all, for the one that read on', () => told().length >= 800, 30_000);
    expect(told()).toEqual(Array.from({ length: 800 }, (_, i) => i + 1));
    slow.webSocket.terminate();
  }, 90_000);
});

describe('an upgrade is refused in HTTP, in the API’s shape', () => {
  test('to pages of other sites, whoever is logged in, and to pages without an origin', async () => {
    const { person, url } = await serve({ allowedOrigins: ['https://friend.example'] });
    const answers = async (origin: string) =>
      (await refusalOf(url, { Cookie: person.cookie, Origin: origin })).status;
    expect(await answers('https://evil.example')).toBe(403);
    expect(await answers('null')).toBe(403);
    expect(await answers(`${url}.evil.example`)).toBe(403);
    expect(await answers(url)).toBe(101);
    expect(await answers('https://friend.example')).toBe(101);
  });

  test('where publicUrl says what the origin is, the Host header doesn’t', async () => {
    const { person, url } = await serve({ publicUrl: 'https://chat.example/talk' });
    const answers = async (origin: string) =>
      (await refusalOf(url, { Cookie: person.cookie, Origin: origin })).status;
    expect(await answers(url)).toBe(403);
    expect(await answers('https://chat.example')).toBe(101);
  });

  test('each with its status and code', async () => {
    const { person, url } = await serve();
    const cookie = { Cookie: person.cookie };
    const refused = async (headers: Record<string, string>, path?: string) => {
      const { status, code } = await refusalOf(url, headers, path);
      return [status, code];
    };
    expect(await refused({})).toEqual([401, 'no_session']);
    expect(await refused(cookie, '/api/socket?rooms=nowhere')).toEqual([404, 'room_not_found']);
    expect(await refused(cookie, '/api/socket')).toEqual([400, 'invalid_field']);
    expect(await refused(cookie, '/api/socket?rooms=lobby&confirm=2')).toEqual([400, 'invalid_field']);
    expect(await refused(cookie, '/api/stream?rooms=lobby')).toEqual([404, 'not_found']);
    expect(await refused(cookie, '/elsewhere')).toEqual([404, 'not_found']);
    expect(await refused({ ...cookie, 'Sec-WebSocket-Key': 'short' })).toEqual([400, 'malformed_body']);
    expect(await refused({ ...cookie, Upgrade: 'h2c' })).toEqual([400, 'malformed_body']);
    expect(await refused({ Cookie: 'throughline.sid=s:made.up' })).toEqual([401, 'no_session']);
  });

  test('unavailable while Redis is away, with Retry-After', async () => {
    const own = await startTestRedis();
    const server = await startTestServer(testConfig(own));
    try {
      const person = await Person.logIn(server.url);
      await own.stop();
      const answer = await waitFor('the refusal', async () => {
        const refusal = await refusalOf(server.url, { Cookie: person.cookie });
        return refusal.status === 503 && refusal;
      });
      expect(answer).toMatchObject({ code: 'unavailable', retryAfter: '1' });
    } finally {
      await server.close();
    }
  });

  test('altogether, where the setting is off', async () => {
    const { person, url } = await serve({ websocket: 'off' });
    expect(await refusalOf(url, { Cookie: person.cookie })).toMatchObject({ status: 404, code: 'not_found' });
  });

  test('a base path is part of the address', async () => {
    const { person, url } = await serve({ basePath: '/chat' });
    const { hello, webSocket } = open(url, { Cookie: person.cookie });
    await hello();
    webSocket.terminate();
    const origin = url.replace('/chat', '');
    expect((await refusalOf(origin, { Cookie: person.cookie })).status).toBe(404);
    expect(
      (await refusalOf(origin, { Cookie: person.cookie }, '/chatter/api/socket?rooms=lobby')).status,
    ).toBe(404);
  });
});

test('mounted in another application, the host’s user listens by WebSocket and is here', async () => {
  const { namespace } = testConfig(redis);
  const chat = await createThroughline({
    user: (req) => {
      const id = req.get('x-user');
      return id === undefined ? undefined : { id, name: `Name of ${id}` };
    },
    redisUrl: redis.path,
    namespace,
    basePath: '/talk',
    log: pino({ level: 'silent' }),
  });
  const app = express().use('/talk', chat.router);
  const server = createServer(app).on('upgrade', chat.upgrade).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/talk`;
  try {
    expect(await refusalOf(url, {})).toMatchObject({ status: 401, code: 'no_session' });
    const { hello, webSocket, heard, closed } = open(url, { 'X-User': 'u/7' }, 'rooms=lobby&confirm=1');
    const { nonce } = await hello();
    webSocket.send(JSON.stringify({ kind: 'confirm', nonce, rooms: ['lobby'] }));
    const user = { id: 'u/7', name: 'Name of u/7', guest: false };
    await waitFor('presence', () => heard.find(({ kind }) => kind === 'presence'));
    expect(heard.find(({ kind }) => kind === 'presence')).toMatchObject({ room: 'lobby', user, here: true });
    const people = await fetch(`${url}/api/rooms/lobby/people`, { headers: { 'X-User': 'u/7' } });
    expect(await people.json()).toMatchObject({ people: [user], count: 1 });
    await chat.close();
    expect((await closed).code).toBe(1001);
  } finally {
    await chat.close();
    server.close();
  }
});
