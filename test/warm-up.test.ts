import diagnostics from 'node:diagnostics_channel';
import type { IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Config } from '../src/config.ts';
import { startServer } from '../src/server.ts';
import { freePort } from './support/free-port.ts';
import { startTestRedis, type TestRedis } from './support/redis.ts';
import { Person, testConfig } from './support/service.ts';
import { ServiceProcess } from './support/service-process.ts';
import { waitFor } from './support/wait-for.ts';

let redis: TestRedis;
let port: number;

beforeAll(async () => {
  port = await freePort();
  redis = await startTestRedis(port);
});

afterAll(async () => {
  await redis.stop();
});

interface Line {
  readonly level: number;
  readonly msg: string;
}

/** Starts a service that warms up, and answers what it logged of that. */
async function start(overrides: Partial<Config> = {}, signal?: AbortSignal) {
  const lines: Line[] = [];
  const log = pino({ level: 'debug' }, { write: (line) => lines.push(JSON.parse(line)) });
  const config = testConfig(redis, { warmUp: 'on', logLevel: 'info', ...overrides });
  const server = await startServer(config, log, signal);
  return { server, config, lines, about: lines.filter(({ msg }) => /warm/.test(msg)) };
}

/** Has Node.js itself tell of what the next server of this process accepts, until `stop`. */
function watch<Told>(name: string, see: (told: Told) => void): { stop(): void } {
  const heard = (told: unknown) => see(told as Told);
  diagnostics.subscribe(name, heard);
  return { stop: () => void diagnostics.unsubscribe(name, heard) };
}

/** The first connection that a server accepts. */
function firstAccepted(see: (socket: Socket) => void): void {
  const watching = watch<{ socket: Socket }>('net.server.socket', ({ socket }) => {
    watching.stop();
    see(socket);
  });
}

test('a warm-up goes well, and nobody finds anything of it afterwards', async () => {
  const metricsToken = 'a-token-of-16-characters';
  const without = await start({ warmUp: 'off', metricsToken });
  const warm = await start({ metricsToken });
  expect(without.about).toEqual([]);
  expect(warm.about).toMatchObject([{ level: 20, msg: 'warmed up' }]);
  const keysOf = async ({ config: { namespace } }: typeof warm) =>
    (await redis.client.keys(`${namespace}:*`)).map((key) => key.slice(namespace.length)).sort();
  expect(await keysOf(warm)).toEqual(await keysOf(without));
  expect(warm.server.readers).toBe(0);
  expect(warm.lines.filter(({ msg }) => msg === 'request')).toEqual([]);
  const countedBy = async ({ server }: typeof warm) => {
    const headers = { Authorization: `Bearer ${metricsToken}` };
    const text = await (await fetch(`${server.url}/metrics`, { headers })).text();
    return text.match(/^throughline_\S+_(total|count)\b\S* (?=[1-9])/gm);
  };
  expect(await countedBy(warm)).toEqual(await countedBy(without));
  expect(await countedBy(warm)).not.toBeNull();

  const ann = await Person.logIn(warm.server.url);
  expect((await ann.history()).events).toEqual([]);
  const id = await ann.post('the first');
  expect(await redis.client.xlen(`${warm.config.namespace}:{0}:journal`)).toBe(1);
  expect(await redis.client.xrange(`${warm.config.namespace}:{0}:log:main/lobby`, id, id)).toHaveLength(1);
  await Promise.all([without.server.close(), warm.server.close()]);
});

test.each<[string, Partial<Config>]>([
  ['under a path', { basePath: '/chat' }],
  ['behind a proxy that is believed', { trustProxy: 1 }],
  [
    'with a heartbeat and a window as small as they can be',
    { heartbeatMs: 1, windowEntries: 1, windowBytes: 1 },
  ],
  ['where nothing is logged', { logLevel: 'silent' }],
  ['over several shards', { shards: 3 }],
])('it goes well %s', async (_where, overrides) => {
  const { server, about } = await start(overrides);
  expect(about).toMatchObject([{ msg: 'warmed up' }]);
  await server.close();
});

test('it goes well where guests are refused', async () => {
  const namespace = 'refusing';
  const first = await start({ namespace, warmUp: 'off' });
  const site = { site: 'main', title: 'Main', origins: [], guests: 'refused' };
  await redis.client.hset(`${namespace}:sites`, 'main', JSON.stringify(site));
  await first.server.close();
  const { server, about } = await start({ namespace });
  expect(about).toMatchObject([{ msg: 'warmed up' }]);
  await server.close();
});

test.each([
  ['a request', 'POST /api/session HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n'],
  [
    'an upgrade',
    'GET /api/socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n',
  ],
  ['nothing', ''],
])('a stranger who finds its port, and sends %s, is answered nothing and cut off', async (_what, request) => {
  let said = '';
  let isWarm = false;
  let wasWarm: boolean | undefined;
  firstAccepted(({ localPort }) => {
    const stranger = connect(localPort as number, '127.0.0.1').setEncoding('latin1');
    stranger.on('error', () => {});
    stranger.on('data', (text) => {
      said += text;
    });
    stranger.on('close', () => {
      wasWarm = isWarm;
    });
    stranger.write(request);
  });
  const { server, about } = await start();
  isWarm = true;
  await waitFor('the end of its connection', () => wasWarm !== undefined);
  expect([said, about]).toMatchObject(['', [{ msg: 'warmed up' }]]);
  if (request !== '') expect(wasWarm).toBe(false);
  await server.close();
});

test.each([
  ['whose readers are cut off', 'GET', /no “event: \w+” came: the connection was ended/],
  ['whose posters are cut off', 'POST', /no “.+” came: the connection was ended/],
])('one %s is logged, and the service starts all the same', async (_how, method, why) => {
  const watching = watch<{ request: IncomingMessage }>('http.server.request.start', ({ request }) => {
    if (request.method === method) request.socket.destroy();
  });
  const { server, about } = await start();
  watching.stop();
  expect(about).toMatchObject([{ level: 40, err: { message: expect.stringMatching(why) } }]);
  expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
  await server.close();
});

test('one that is refused says how', async () => {
  const namespace = 'roomless';
  // A stream of a room that isn't there any more is refused.
  let isGone = false;
  firstAccepted(() => {
    isGone = true;
    redis.client.del(`${namespace}:{0}:room:main/lobby`).catch(() => {});
  });
  const { server, about } = await start({ namespace });
  expect([isGone, about]).toMatchObject([
    true,
    [{ level: 40, err: { message: expect.stringContaining('HTTP/1.1 404 Not Found') } }],
  ]);
  await server.close();
});

test('one that takes too long is given up after 5 s', async () => {
  const held: Socket[] = [];
  const watching = watch<{ socket: Socket }>('net.server.socket', ({ socket }) => {
    // Nothing is read of it any more.
    held.push(socket);
    setImmediate(() => socket.pause());
  });
  const startedAt = performance.now();
  const { server, about } = await start();
  watching.stop();
  expect(performance.now() - startedAt).toBeGreaterThan(4900);
  expect(held.every(({ destroyed }) => destroyed)).toBe(true);
  expect(about).toMatchObject([{ level: 40, err: { message: 'it took too long' } }]);
  expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
  await server.close();
});

test('a stop during it is heard at once', async () => {
  const stopping = new AbortController();
  const held: Socket[] = [];
  const watching = watch<{ socket: Socket }>('net.server.socket', ({ socket }) => {
    held.push(socket);
    setImmediate(() => socket.pause());
    stopping.abort(new Error('stop'));
  });
  const startedAt = performance.now();
  await expect(start({}, stopping.signal)).rejects.toThrow('stop');
  watching.stop();
  expect(performance.now() - startedAt).toBeLessThan(4500);
  expect(held.map(({ destroyed }) => destroyed)).not.toContain(false);
});

test('each worker warms up by itself', async () => {
  const service = new ServiceProcess([], {
    PORT: '0',
    REDIS_URL: `redis://127.0.0.1:${port}`,
    WORKERS: '2',
    WARM_UP: 'on',
    LOG_LEVEL: 'debug',
  });
  try {
    await service.url();
    const lines = () => service.out.split('\n').filter((line) => line.includes('warmed up'));
    await waitFor('both', () => lines().length === 2);
    const workers = lines().map((line) => JSON.parse(line)) as { worker: number }[];
    expect(workers.map(({ worker }) => worker).sort()).toEqual([1, 2]);
  } finally {
    await service.kill('SIGTERM');
  }
});

test('a process that is told to stop during it has ended soon', async () => {
  const monitor = await redis.client.monitor();
  const service = new ServiceProcess([], {
    PORT: '0',
    REDIS_URL: `redis://127.0.0.1:${port}`,
    WARM_UP: 'on',
  });
  // The first of its visitors is asked about.
  await new Promise<void>((resolve) => {
    monitor.on('monitor', (_time: string, args: string[]) => {
      if (args.some((arg) => arg.includes('warm-up-'))) resolve();
    });
  });
  monitor.disconnect();
  const toldAt = performance.now();
  expect(await service.kill('SIGTERM')).toBe(0);
  expect(performance.now() - toldAt).toBeLessThan(1500);
  expect(service.out).toBe('');
});
