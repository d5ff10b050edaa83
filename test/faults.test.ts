import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { carriers } from './support/carriers.ts';
import { freePort } from './support/free-port.ts';
import { RedisNode } from './support/redis-nodes.ts';
import { Person } from './support/service.ts';
import { isAlive, ServiceProcess } from './support/service-process.ts';
import { Traffic } from './support/traffic.ts';
import { waitFor } from './support/wait-for.ts';

let folder: string;
let port: number;
const started: ServiceProcess[] = [];
const cleanUps: (() => Promise<void>)[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tl-f-'));
  port = await freePort();
});

afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
  for (const service of started.splice(0)) await service.kill('SIGKILL');
  await endRedis();
  await rm(folder, { recursive: true, force: true });
});

/** The built service on the test's folder and port. */
function launch(args: string[] = [], env: Record<string, string> = {}): ServiceProcess {
  const service = new ServiceProcess(args, { PORT: String(port), DATA_DIR: folder, ...env });
  started.push(service);
  return service;
}

async function beginTraffic(): Promise<Traffic> {
  const traffic = await Traffic.begin(`http://127.0.0.1:${port}`);
  cleanUps.push(() => traffic.stop());
  await traffic.more(50);
  return traffic;
}

async function start(env: Record<string, string> = {}): Promise<ServiceProcess> {
  const service = launch([], env);
  await waitFor(
    `the service (${service.err})`,
    () => service.hasExited || service.out.includes('Throughline is at'),
    15_000,
  );
  expect(service.err).toBe('');
  expect(service.hasExited).toBe(false);
  return service;
}

/** The pid of the Redis on the folder's socket, if one answers. */
async function redisPid(): Promise<number | undefined> {
  const path = join(folder, 'redis.sock');
  if (!existsSync(path)) return undefined;
  const client = new Redis(path, { lazyConnect: true, retryStrategy: () => null });
  client.on('error', () => {});
  try {
    await client.connect();
    return Number(/process_id:(\d+)/.exec(await client.info('server'))?.[1]);
  } catch {
    return undefined;
  } finally {
    client.disconnect();
  }
}

/** Ends what a killed service has left behind on the test's own folder. */
async function endRedis(): Promise<void> {
  const pid = await redisPid();
  if (pid === undefined) return;
  process.kill(pid, 'SIGKILL');
  await waitFor('the end of Redis', () => !isAlive(pid));
}

describe('no accepted message is lost, doubled or out of order for any follower', { timeout: 90_000 }, () => {
  test('when the service is killed under traffic and started again on its folder, three times', async () => {
    let service = await start();
    const traffic = await beginTraffic();
    for (let i = 0; i < 3; i++) {
      await service.kill('SIGKILL');
      service = await start();
      await traffic.more(100);
    }
    await traffic.settle();
  });

  test('when service and embedded Redis are killed at once', async () => {
    const service = await start();
    const traffic = await beginTraffic();
    await Promise.all([service.kill('SIGKILL'), endRedis()]);
    await start();
    await traffic.more(100);
    await traffic.settle();
  });

  test('when the embedded Redis is killed under traffic; the service stays, and posting works again soon', async () => {
    const service = await start();
    const traffic = await beginTraffic();
    const pids = new Set<number>();
    for (let i = 0; i < 3; i++) {
      const pid = await waitFor('an embedded Redis', redisPid);
      pids.add(pid);
      process.kill(pid, 'SIGKILL');
      await waitFor('its end', () => !isAlive(pid));
      await traffic.more(50, 10_000);
    }
    expect(pids.size).toBe(3);
    expect(traffic.faults.length).toBeGreaterThan(0);
    await traffic.settle();
    expect(service.hasExited).toBe(false);
  });

  test('when the service is asked to stop under traffic and started again', async () => {
    const drainMs = 5000;
    const service = await start({ DRAIN_MS: String(drainMs) });
    const traffic = await beginTraffic();
    const onlooker = await Person.logIn(`http://127.0.0.1:${port}`);
    const streams = carriers.filter(({ name }) => name.startsWith('SSE'));
    const open = streams.map((carrier) => carrier.follow(onlooker, ['lobby']));
    await waitFor('hello', () => open.every(({ all }) => all.length > 0));
    const stoppedAt = performance.now();
    expect(await service.kill('SIGTERM')).toBe(0);
    expect(performance.now() - stoppedAt).toBeLessThan(drainMs);
    expect(service.err).toBe('');
    expect(await redisPid()).toBeUndefined();
    for (const follower of open) {
      await follower.done;
      expect(follower.failure).toBeUndefined();
      expect(follower.all.at(-1)).toMatchObject({ kind: 'bye', code: 'shutting_down' });
      expect(follower.all.at(-1)?.['retry']).toBeTypeOf('number');
    }
    await start();
    await traffic.more(100);
    await traffic.settle();
  });
});

/** A request whose body never ends. */
async function hangingRequest(): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  const body = '{"name":';
  socket.write(
    `POST /api/session HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nContent-Type: application/json\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n${body}`,
  );
  await new Promise((resolve) => socket.once('data', resolve));
  cleanUps.push(async () => void socket.destroy());
  return socket;
}

function isListening(): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => resolve(true));
    socket.on('error', () => resolve(false));
    socket.unref().on('connect', () => socket.destroy());
  });
}

test('a request that never ends holds up a stop no longer than the drain time', async () => {
  const service = await start({ DRAIN_MS: '500' });
  await hangingRequest();
  expect(await service.kill('SIGTERM')).toBe(0);
});

test('a second signal ends the service at once, and it can be started again on its folder', async () => {
  const service = await start({ DRAIN_MS: '60000' });
  await hangingRequest();
  service.child.kill('SIGTERM');
  await waitFor('the port to be closed', async () => !(await isListening()));
  expect(service.hasExited).toBe(false);
  const at = performance.now();
  expect(await service.kill('SIGTERM')).toBe(1);
  expect(performance.now() - at).toBeLessThan(2000);
  const again = await start();
  expect(await again.kill('SIGTERM')).toBe(0);
});

/** Expects a start that ends with one sentence for the operator. */
async function expectRefusal(service: ServiceProcess, saying: RegExp): Promise<void> {
  expect(await service.exit).toBe(1);
  expect(service.out).toBe('');
  expect(service.err).toMatch(saying);
  expect(service.err).not.toContain('    at ');
  expect(service.err.trimEnd().split('\n')).toHaveLength(1);
  expect(service.err).toMatch(/\.\n$/);
}

describe('a start that can’t be says why in one sentence, without a stack, and exits 1', () => {
  test('on the folder of a running service, which it leaves alone', async () => {
    const service = await start();
    await expectRefusal(launch([], { PORT: '0' }), /in use by another Throughline/);
    expect(service.hasExited).toBe(false);
    await Person.logIn(`http://127.0.0.1:${port}`);
    expect(await service.kill('SIGTERM')).toBe(0);
  });

  test('on a port in use, and leaves no Redis running', async () => {
    const server = createServer().listen(port, '127.0.0.1');
    cleanUps.push(() => new Promise((resolve) => server.close(() => resolve())));
    await expectRefusal(launch(), /Port \d+ .* in use/);
    expect(await redisPid()).toBeUndefined();
  });

  test('with a REDIS_URL where nothing listens', async () => {
    // A port that was free a moment ago may be anybody's; nothing but root listens on this one.
    await expectRefusal(
      launch([], { REDIS_URL: 'redis://127.0.0.1:1' }),
      /can’t be used: nothing listens there/,
    );
  });

  test.each(['redis://:wr0ng-pass@', 'redis://'])(
    'with %s to a Redis that wants another password',
    async (url) => {
      const redisPort = await freePort();
      const child = spawn('redis-server', [
        ...['--port', String(redisPort), '--bind', '127.0.0.1', '--dir', folder],
        ...['--save', '', '--requirepass', 'right'],
      ]);
      cleanUps.push(async () => {
        const ended = new Promise((resolve) => child.once('close', resolve));
        child.kill('SIGKILL');
        await ended;
      });
      await waitFor(
        'Redis to listen',
        () =>
          new Promise<boolean>((resolve) => {
            const socket = connect(redisPort, '127.0.0.1', () => resolve(true));
            socket.on('error', () => resolve(false));
            socket.on('connect', () => socket.destroy());
          }),
      );
      const service = launch([], { REDIS_URL: `${url}127.0.0.1:${redisPort}` });
      await expectRefusal(service, /refused the log-in/);
      expect(service.err).not.toContain('wr0ng-pass');
    },
  );

  test.each([
    [['--no-such-flag'], {}, /no-such-flag/],
    [['surprise'], {}, /surprise/],
    [['--port', 'many'], {}, /--port must be/],
    [[], { PORT: '65536' }, /PORT must be/],
    [[], { REDIS_URL: 'http://example.org' }, /REDIS_URL must be/],
  ] as [string[], Record<string, string>, RegExp][])('with the settings %j %j', async (args, env, saying) => {
    await expectRefusal(launch(args, env), saying);
  });
});

test('a Redis that loads its data is waited for, which a signal gives up', async () => {
  // A minute of it.
  const keys = 60_000;
  const loading = ['key-load-delay 1000', 'loading-process-events-interval-bytes 1024'];
  const redis = await RedisNode.start(['save ""', ...loading]);
  cleanUps.push(() => redis.remove());
  await redis.client.mset(Object.fromEntries(Array.from({ length: keys }, (_, i) => [`key:${i}`, 'x'])));
  await redis.client.save();
  await redis.kill();
  redis.restart().catch(() => {});
  const onlooker = new Redis({
    port: redis.port,
    host: '127.0.0.1',
    enableReadyCheck: false,
    retryStrategy: () => 50,
  });
  onlooker.on('error', () => {});
  cleanUps.push(async () => onlooker.disconnect());
  const env = { REDIS_URL: `redis://${redis.endpoint}`, LOG_LEVEL: 'info' };
  const service = launch([], env);
  await waitFor('it to say so', () => service.out.includes('waiting for Redis'));
  expect(await service.kill('SIGTERM')).toBe(0);
  expect(service.err).toBe('');
  expect(await onlooker.info('persistence')).toContain('loading:1');
  const next = launch([], env);
  await waitFor('the next to say so', () => next.out.includes('waiting for Redis'));
  await onlooker.config('SET', 'key-load-delay', 0);
  await next.url();
  expect(await next.kill('SIGTERM')).toBe(0);
});

test('--help tells every setting, starts nothing and exits 0', async () => {
  const service = launch(['--help']);
  expect(await service.exit).toBe(0);
  expect(service.err).toBe('');
  for (const told of ['PORT', 'REDIS_URL', 'DATA_DIR', '--help']) expect(service.out).toContain(told);
  expect(existsSync(join(folder, 'redis.sock'))).toBe(false);
});
