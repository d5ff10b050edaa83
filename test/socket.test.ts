import { once } from 'node:events';
import { createServer, type IncomingMessage, request } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import type { Duplex } from 'node:stream';
import express from 'express';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import type { Config } from '../src/config.ts';
import type { UserHook } from '../src/http/host-authority.ts';
import { createThroughline, type ThroughlineOptions } from '../src/library.ts';
import { type RunningServer, startServer } from '../src/server.ts';
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
      nonce: expect.stringMatching(/^[0-9a-f-]{36}$/),
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
    const { person, servers, url } = await serve({
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
    // 13 readers × 12.5 MB would be 160 MB if they were buffered for; the sockets’ own buffers are the kernel’s.
    expect(process.memoryUsage().rss - before).toBeLessThan(140 * 1024 * 1024);
    clearInterval(hesitating);
    slow.webSocket.resume();
    // What was sent before is read first, and whoever reads in time wasn't stalled: they resume when all have been ended.
    const server = servers[0] as RunningServer;
    await waitFor('the stalled to be ended', () => server.readers === 1, 20_000);
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

describe('a request that asks for an upgrade to something else', () => {
  /** What a connection answers, as text, until it has been quiet for a moment. */
  async function exchange(url: string, ...requests: string[]) {
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    let got = '';
    socket.on('data', (bytes) => {
      got += bytes;
    });
    for (const [i, asked] of requests.entries()) {
      socket.write(asked);
      await waitFor(`answer ${i + 1}`, () => got.split('HTTP/1.1 ').length > i + 1);
    }
    await waitFor('its end', () => /\}\s*$/.test(got));
    socket.destroy();
    return got.split('HTTP/1.1 ').slice(1);
  }
  const H2C = 'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n';

  test('is answered as if it hadn’t, on a connection that is kept', async () => {
    const { url } = await serve();
    const asked = `GET /healthz HTTP/1.1\r\nHost: x\r\n${H2C}\r\n`;
    const answers = await exchange(url, asked, asked, 'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n');
    for (const answer of answers) {
      expect(answer).toMatch(/^200 OK/);
      expect(answer).toMatch(/\{"status":"up"\}/);
      expect(answer).toMatch(/connection: keep-alive/i);
    }
    expect(answers).toHaveLength(3);
    const [last] = await exchange(url, asked.replace('Upgrade, ', 'Upgrade, close, '));
    expect(last).toMatch(/connection: close/i);
  });

  test('has its body read, whole or in pieces', async () => {
    const { url, person } = await serve();
    const head = `POST /api/rooms/lobby/messages HTTP/1.1\r\nHost: x\r\nCookie: ${person.cookie}\r\nContent-Type: application/json\r\n${H2C}`;
    const text = JSON.stringify({ text: 'häppy 👋'.repeat(300) });
    const [whole] = await exchange(url, `${head}Content-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`);
    expect(whole).toMatch(/^201 /);
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    let got = '';
    socket.on('data', (bytes) => {
      got += bytes;
    });
    socket.write(`${head}Transfer-Encoding: chunked\r\n\r\n4\r\n{"te\r\n`);
    await new Promise((resolve) => setTimeout(resolve, 100));
    socket.write('d\r\nxt":"pieces"}\r\n0\r\n\r\n');
    await waitFor('the answer', () => got.startsWith('HTTP/1.1 201'));
    socket.destroy();
    expect((await person.history()).events.map(({ text }) => text)).toEqual([
      'häppy 👋'.repeat(300),
      'pieces',
    ]);
  });
});

test('upgrades have a line in the log, as requests have, without their queries', async () => {
  const lines: Record<string, unknown>[] = [];
  const write = (line: string) => void lines.push(JSON.parse(line));
  const server = await startServer(testConfig(redis), pino({ level: 'info' }, { write }));
  running.push(server);
  const person = await Person.logIn(server.url);
  const { hello, webSocket } = open(server.url, { Cookie: person.cookie });
  await hello();
  webSocket.terminate();
  await refusalOf(server.url, {});
  await refusalOf(server.url, {}, '/elsewhere?a=secret');
  const logged = () => lines.filter(({ path }) => path === '/api/socket' || path === '/elsewhere');
  await waitFor('three lines', () => logged().length === 3);
  expect(logged()).toEqual(
    expect.arrayContaining(
      [101, 401, 404].map((status) => expect.objectContaining({ method: 'GET', status, msg: 'request' })),
    ),
  );
  expect(JSON.stringify(lines)).not.toContain('secret');
});

/** The chat in an application that has its own log-in, and perhaps WebSockets of its own. */
async function mount(
  options: ThroughlineOptions = {},
  own: (req: IncomingMessage, socket: Duplex) => void = () => {},
) {
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
    ...options,
  });
  const app = express().use('/talk', chat.router);
  const server = createServer(app).on('upgrade', chat.upgrade).on('upgrade', own).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const close = async () => {
    await chat.close();
    server.closeAllConnections();
    server.close();
  };
  return { chat, origin, url: `${origin}/talk`, close };
}

test('where the host’s log-in is used, only a request of its own confirms a WebSocket: a log-out ends it', async () => {
  const loggedIn = new Set(['u/7']);
  const seen = new WeakSet<object>();
  const user: UserHook = (req) => {
    // A host's session, parsed once a request.
    const id = req.get('x-user') ?? '';
    if (!seen.has(req) && !loggedIn.has(id)) return undefined;
    seen.add(req);
    return { id, name: 'U' };
  };
  const settings = { heartbeatMs: 200, confirmMs: 700, leaseMs: 1500 };
  const { url, close } = await mount({ user, ...settings });
  try {
    const { hello, webSocket, heard, closed } = open(url, { 'X-User': 'u/7' }, 'rooms=lobby&confirm=1');
    const { nonce } = await hello();
    const confirmation = JSON.stringify({ nonce, rooms: ['lobby'] });
    const headers = { 'X-User': 'u/7', 'Content-Type': 'application/json' };
    const post = () => fetch(`${url}/api/confirm`, { method: 'POST', headers, body: confirmation });
    const timer = setInterval(() => {
      webSocket.send(JSON.stringify({ kind: 'confirm', nonce, rooms: ['lobby'] }));
      void post();
    }, 300);
    webSocket.once('close', () => clearInterval(timer));
    expect((await post()).status).toBe(204);
    await new Promise((resolve) => setTimeout(resolve, 2000));
    expect(webSocket.readyState).toBe(WebSocket.OPEN);
    loggedIn.clear();
    await closed;
    expect(heard.at(-1)).toMatchObject({ kind: 'bye', code: 'not_confirmed' });
  } finally {
    await close();
  }
});

test('a host’s hook may ask an upgrade what it asks requests, as the proxies in front tell it', async () => {
  const asked: unknown[] = [];
  const user: UserHook = (req) => {
    asked.push([req.ip, req.protocol, req.secure, req.hostname, req.query['rooms']]);
    return { id: 'u', name: 'U' };
  };
  const { url, close } = await mount({ user, trustProxy: 1 });
  try {
    const headers = { 'X-Forwarded-For': '192.0.2.7', 'X-Forwarded-Proto': 'https' };
    const { hello } = open(url, headers);
    await hello();
    expect(asked[0]).toEqual(['192.0.2.7', 'https', true, '127.0.0.1', 'lobby']);
  } finally {
    await close();
  }
});

test('a host’s own WebSockets are left to it', async () => {
  const own = new WebSocketServer({ noServer: true });
  const { origin, close } = await mount({}, (req, socket) => {
    if (req.url !== '/own') return;
    // A host may take its time to find out who asks.
    setTimeout(() => own.handleUpgrade(req, socket, Buffer.alloc(0), (ws) => ws.send('the host’s')), 100);
  });
  try {
    const webSocket = new WebSocket(`${origin.replace('http', 'ws')}/own`);
    const [message] = await once(webSocket, 'message');
    expect(String(message)).toBe('the host’s');
    webSocket.terminate();
    expect(await refusalOf(origin, {}, '/talk/elsewhere')).toMatchObject({ status: 404 });
  } finally {
    await close();
  }
});

test('mounted in another application, the host’s user listens by WebSocket and is here', async () => {
  const { chat, url, close } = await mount();
  try {
    expect(await refusalOf(url, {})).toMatchObject({ status: 401, code: 'no_session' });
    const { hello, heard, closed } = open(url, { 'X-User': 'u/7' }, 'rooms=lobby&confirm=1');
    const { nonce } = await hello();
    await fetch(`${url}/api/confirm`, {
      method: 'POST',
      headers: { 'X-User': 'u/7', 'Content-Type': 'application/json' },
      body: JSON.stringify({ nonce, rooms: ['lobby'] }),
    });
    const user = { id: 'u/7', name: 'Name of u/7', guest: false };
    await waitFor('presence', () => heard.find(({ kind }) => kind === 'presence'));
    expect(heard.find(({ kind }) => kind === 'presence')).toMatchObject({ room: 'lobby', user, here: true });
    const people = await fetch(`${url}/api/rooms/lobby/people`, { headers: { 'X-User': 'u/7' } });
    expect(await people.json()).toMatchObject({ people: [user], count: 1 });
    await chat.close();
    expect((await closed).code).toBe(1001);
  } finally {
    await close();
  }
});
