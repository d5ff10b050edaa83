import type { Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import type { Config } from '../src/config.ts';
import { OpenConnections } from '../src/http/open-connections.ts';
import { rehearse } from '../src/rehearsal/rehearse.ts';
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
  readonly err?: { readonly message: string };
}

/** Starts a service that rehearses, and answers what it logged meanwhile. */
async function start(overrides: Partial<Config> = {}) {
  const lines: Line[] = [];
  const log = pino({ level: 'debug' }, { write: (line) => lines.push(JSON.parse(line)) });
  const config = testConfig(redis, { rehearsal: 'on', logLevel: 'info', ...overrides });
  const server = await startServer(config, log);
  return { server, config, lines, about: lines.filter(({ msg }) => /rehears/.test(msg)) };
}

test('a rehearsal goes well, and nobody finds anything of it afterwards', async () => {
  const without = await start({ rehearsal: 'off' });
  const withOne = await start();
  expect(without.about).toEqual([]);
  expect(withOne.about).toMatchObject([{ level: 20, msg: 'rehearsed' }]);
  const keysOf = async ({ config: { namespace } }: { config: Config }) =>
    (await redis.client.keys(`${namespace}:*`)).map((key) => key.slice(namespace.length)).sort();
  expect(await keysOf(withOne)).toEqual(await keysOf(without));
  expect(withOne.server.readers).toBe(0);
  expect(withOne.lines.filter(({ msg }) => msg === 'request')).toEqual([]);

  const ann = await Person.logIn(withOne.server.url);
  expect((await ann.history()).events).toEqual([]);
  const id = await ann.post('the first');
  expect(await redis.client.xlen(`${withOne.config.namespace}:{0}:journal`)).toBe(1);
  expect(await redis.client.xrange(`${withOne.config.namespace}:{0}:log:main/lobby`, id, id)).toHaveLength(1);
  await Promise.all([without.server.close(), withOne.server.close()]);
});

test.each<[string, Partial<Config>]>([
  ['under a path', { basePath: '/chat' }],
  ['behind a proxy that is believed', { trustProxy: 1 }],
  [
    'with heartbeats and windows as short as they can be',
    { heartbeatMs: 1, windowEntries: 1, windowBytes: 1 },
  ],
  ['where nothing is logged', { logLevel: 'silent' }],
  ['over several shards', { shards: 3 }],
])('it goes well %s', async (_where, overrides) => {
  const { server, about } = await start(overrides);
  expect(about).toMatchObject([{ msg: 'rehearsed' }]);
  await server.close();
});

test('it goes well where guests are refused', async () => {
  const namespace = 'refusing';
  const first = await start({ namespace, rehearsal: 'off' });
  const site = { site: 'main', title: 'Main', origins: [], guests: 'refused' };
  await redis.client.hset(`${namespace}:sites`, 'main', JSON.stringify(site));
  await first.server.close();
  const { server, about } = await start({ namespace });
  expect(about).toMatchObject([{ msg: 'rehearsed' }]);
  await server.close();
});

test('a stranger who finds its port is cut off unanswered, and holds it up no longer than 2 s', async () => {
  const attend = vi.spyOn(OpenConnections.prototype, 'attend');
  const heard = new Promise<string>((resolve) => {
    attend.mockImplementation(function (this: OpenConnections, server: Server) {
      attend.mockRestore();
      this.attend(server);
      server.once('listening', () => {
        const stranger = connect((server.address() as AddressInfo).port, '127.0.0.1').setEncoding('latin1');
        let said = '';
        stranger.on('data', (text) => {
          said += text;
        });
        stranger.on('error', () => {}).on('close', () => resolve(said));
        stranger.write('POST /api/session HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n');
        // Another says nothing at all.
        connect((server.address() as AddressInfo).port, '127.0.0.1').on('error', () => {});
      });
    } as never);
  });
  const { server, about } = await start();
  expect(await heard).toBe('');
  expect(about).toMatchObject([{ msg: 'rehearsed' }]);
  await server.close();
});

test('one that fails is logged, and the service starts all the same', async () => {
  const unheard = vi.spyOn(OpenConnections.prototype, 'attend');
  unheard.mockImplementationOnce(function (this: OpenConnections, server: Server) {
    this.attend(server);
    // Nobody is answered.
    server.removeAllListeners('request');
  } as never);
  const startedAt = performance.now();
  const { server, about } = await start();
  unheard.mockRestore();
  expect(performance.now() - startedAt).toBeLessThan(5000);
  expect(about).toMatchObject([{ level: 40, err: { message: expect.stringContaining('came') } }]);
  expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
  await server.close();
});

test('one without Redis is logged, too', async () => {
  const lines: string[] = [];
  const log = pino({ level: 'debug' }, { write: (line) => lines.push(line) });
  const sites = { mustGet: () => Promise.reject(new Error('Redis is away')) };
  const use = vi.fn();
  await rehearse({ service: { log, sites } } as never, undefined as never, use);
  expect(lines.map((line) => JSON.parse(line))).toMatchObject([
    { level: 40, err: { message: 'Redis is away' } },
  ]);
  expect(use).not.toHaveBeenCalled();
});

test('each worker rehearses by itself', async () => {
  const service = new ServiceProcess([], {
    PORT: '0',
    REDIS_URL: `redis://127.0.0.1:${port}`,
    WORKERS: '2',
    REHEARSAL: 'on',
    LOG_LEVEL: 'debug',
  });
  await service.url();
  const lines = () => service.out.split('\n').filter((line) => line.includes('rehears'));
  await waitFor('both rehearsals', () => lines().length === 2);
  const workers = lines().map((line) => JSON.parse(line)) as { msg: string; worker: number }[];
  expect(workers.map(({ msg }) => msg)).toEqual(['rehearsed', 'rehearsed']);
  expect(workers.map(({ worker }) => worker).sort()).toEqual([1, 2]);
  await service.kill('SIGTERM');
});
