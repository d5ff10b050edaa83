import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { compareIds, streamId } from '../src/chat/ids.ts';
import { type Carrier, carriers, type Follower } from './support/carriers.ts';
import { Person, type WireEvent } from './support/service.ts';
import { waitFor } from './support/wait-for.ts';

const MAIN = join(import.meta.dirname, '../dist/main.js');
const CLIENT_BACKOFF_MS = 20;

let folder: string;
let port: number;
const started: Service[] = [];
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

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

/** The built service as a process of its own. */
class Service {
  readonly child: ChildProcess;
  readonly exit: Promise<number | string>;
  hasExited = false;
  out = '';
  err = '';

  constructor(args: string[] = [], env: Record<string, string> = {}) {
    this.child = spawn(process.execPath, [MAIN, ...args], {
      env: {
        PATH: process.env['PATH'],
        HOST: '127.0.0.1',
        PORT: String(port),
        DATA_DIR: folder,
        LOG_LEVEL: 'silent',
        POST_BURST: '100000',
        BYE_SPREAD_MS: '200',
        ...env,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.child.stdout?.on('data', (bytes) => {
      this.out += bytes;
    });
    this.child.stderr?.on('data', (bytes) => {
      this.err += bytes;
    });
    this.exit = new Promise((resolve) =>
      this.child.once('close', (code, signal) => {
        this.hasExited = true;
        resolve(code ?? (signal as string));
      }),
    );
    started.push(this);
  }

  async kill(signal: 'SIGKILL' | 'SIGTERM'): Promise<number | string> {
    this.child.kill(signal);
    return this.exit;
  }
}

async function start(env: Record<string, string> = {}): Promise<Service> {
  const service = new Service([], env);
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

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Ends what a killed service has left behind on the test's own folder. */
async function endRedis(): Promise<void> {
  const pid = await redisPid();
  if (pid === undefined) return;
  process.kill(pid, 'SIGKILL');
  await waitFor('the end of Redis', () => !isAlive(pid));
}

/** Posters who retry each post until it is accepted, and followers on every carrier who come back from their cursor. */
class Traffic {
  readonly accepted: { id: string; text: string }[] = [];
  readonly told: { name: string; events: WireEvent[]; current: Follower | undefined }[] = [];
  retries = 0;
  failure: unknown;
  #isPosting = true;
  #isFollowing = true;
  readonly #running: Promise<void>[] = [];
  readonly #posting: Promise<void>[] = [];

  constructor(posters: Person[], followers: Person, cursor: string) {
    for (const [i, person] of posters.entries()) this.#posting.push(this.#post(person, i));
    for (const carrier of carriers) this.#running.push(this.#follow(carrier, followers, cursor));
  }

  static async begin(posters = 4): Promise<Traffic> {
    const url = `http://127.0.0.1:${port}`;
    const people: Person[] = [];
    for (let i = 0; i <= posters; i++) people.push(await Person.logIn(url));
    const reader = people.pop() as Person;
    const traffic = new Traffic(people, reader, (await reader.history()).cursor);
    cleanUps.push(() => traffic.stop());
    await traffic.more(50);
    return traffic;
  }

  async #post(person: Person, poster: number): Promise<void> {
    for (let k = 0; this.#isPosting; k++) {
      const text = `${poster}:${k}`;
      const clientId = randomUUID();
      for (;;) {
        try {
          const init = { signal: AbortSignal.timeout(8000) };
          const res = await person.send('/api/rooms/lobby/messages', { text, clientId }, init);
          const answer = (await res.json()) as { id: string };
          if (res.ok) {
            this.accepted.push({ id: answer.id, text });
            break;
          }
          if (res.status < 500) this.failure ??= new Error(`post: ${res.status} ${JSON.stringify(answer)}`);
        } catch {
          // The service is away, or the connection broke: the same post again.
        }
        if (!this.#isFollowing) return;
        this.retries++;
        await pause(CLIENT_BACKOFF_MS);
      }
    }
  }

  async #follow(carrier: Carrier, person: Person, from: string): Promise<void> {
    const mine = {
      name: carrier.name,
      events: [] as WireEvent[],
      current: undefined as Follower | undefined,
    };
    this.told.push(mine);
    for (let after = from; this.#isFollowing; await pause(CLIENT_BACKOFF_MS)) {
      const follower = carrier.follow(person, ['lobby'], after);
      mine.current = follower;
      await follower.done;
      mine.events.push(...follower.events);
      mine.current = undefined;
      after = follower.cursor ?? after;
      if (/: 4\d\d /.test(String(follower.failure))) this.failure ??= follower.failure;
    }
  }

  eventsOf({ events, current }: Traffic['told'][number]): WireEvent[] {
    return [...events, ...(current?.events ?? [])];
  }

  /** Waits until so many further posts were accepted, and each follower was told so many further messages. */
  async more(count: number, withinMs = 20_000): Promise<void> {
    const target = this.accepted.length + count;
    await waitFor(
      `${count} further posts`,
      () => this.failure !== undefined || this.accepted.length >= target,
      withinMs,
    );
    const seen = (who: Traffic['told'][number]) =>
      this.eventsOf(who).filter(({ kind }) => kind === 'message').length;
    const before = target - count;
    await waitFor(
      'followers who keep up',
      () => this.failure !== undefined || this.told.every((who) => seen(who) >= before + count / 2),
      withinMs,
    );
    expect(this.failure).toBeUndefined();
  }

  /** Ends the posting, and has every follower be told every accepted message exactly once and in order. */
  async settle(): Promise<void> {
    this.#isPosting = false;
    await Promise.all(this.#posting);
    expect(this.failure).toBeUndefined();
    const expected = this.accepted
      .toSorted((a, b) => compareIds(streamId(a.id), streamId(b.id)))
      .map(({ id, text }) => `${id} ${text}`);
    for (const who of this.told) {
      const messages = () => this.eventsOf(who).filter(({ kind }) => kind === 'message');
      await waitFor(
        `${expected.length} messages over ${who.name}`,
        () => messages().length >= expected.length,
        20_000,
      ).catch(() => {});
      const told = messages().map(({ id, text }) => `${id} ${text}`);
      const isDouble = (line: string, i: number) => told.indexOf(line) !== i;
      expect(told.filter(isDouble), `doubles over ${who.name}`).toEqual([]);
      expect(
        expected.filter((line) => !told.includes(line)),
        `missing over ${who.name}`,
      ).toEqual([]);
      expect(told, who.name).toEqual(expected);
      const others = this.eventsOf(who).filter(({ kind }) => kind !== 'message');
      expect(
        others.filter(({ kind }) => kind !== 'bye'),
        who.name,
      ).toEqual([]);
    }
    await this.stop();
  }

  async stop(): Promise<void> {
    this.#isPosting = this.#isFollowing = false;
    while (this.told.some(({ current }) => current !== undefined)) {
      await Promise.all(this.told.map(({ current }) => current?.cut()));
      await pause(1);
    }
    await Promise.all([...this.#posting, ...this.#running]);
  }
}

describe('no accepted message is lost, doubled or out of order for any follower', { timeout: 90_000 }, () => {
  test('when the service is killed under traffic and started again on its folder, three times', async () => {
    let service = await start();
    const traffic = await Traffic.begin();
    for (let i = 0; i < 3; i++) {
      await service.kill('SIGKILL');
      service = await start();
      await traffic.more(100);
    }
    await traffic.settle();
  });

  test('when service and embedded Redis are killed at once', async () => {
    const service = await start();
    const traffic = await Traffic.begin();
    await Promise.all([service.kill('SIGKILL'), endRedis()]);
    await start();
    await traffic.more(100);
    await traffic.settle();
  });

  test('when the embedded Redis is killed under traffic; the service stays, and posting works again soon', async () => {
    const service = await start();
    const traffic = await Traffic.begin();
    const pids = new Set<number>();
    for (let i = 0; i < 3; i++) {
      const pid = await waitFor('an embedded Redis', redisPid);
      pids.add(pid);
      process.kill(pid, 'SIGKILL');
      await waitFor('its end', () => !isAlive(pid));
      await traffic.more(50, 10_000);
    }
    expect(pids.size).toBe(3);
    expect(traffic.retries).toBeGreaterThan(0);
    await traffic.settle();
    expect(service.hasExited).toBe(false);
  });

  test('when the service is asked to stop under traffic and started again', async () => {
    const drainMs = 5000;
    const service = await start({ DRAIN_MS: String(drainMs) });
    const traffic = await Traffic.begin();
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
async function expectRefusal(service: Service, saying: RegExp): Promise<void> {
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
    await expectRefusal(new Service([], { PORT: '0' }), /in use by another Throughline/);
    expect(service.hasExited).toBe(false);
    await Person.logIn(`http://127.0.0.1:${port}`);
    expect(await service.kill('SIGTERM')).toBe(0);
  });

  test('on a port in use, and leaves no Redis running', async () => {
    const server = createServer().listen(port, '127.0.0.1');
    cleanUps.push(() => new Promise((resolve) => server.close(() => resolve())));
    await expectRefusal(new Service(), /Port \d+ .* in use/);
    expect(await redisPid()).toBeUndefined();
  });

  test('with a REDIS_URL where nothing listens', async () => {
    const closed = await freePort();
    await expectRefusal(
      new Service([], { REDIS_URL: `redis://127.0.0.1:${closed}` }),
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
      const service = new Service([], { REDIS_URL: `${url}127.0.0.1:${redisPort}` });
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
    await expectRefusal(new Service(args, env), saying);
  });
});

test('--help tells every setting, starts nothing and exits 0', async () => {
  const service = new Service(['--help']);
  expect(await service.exit).toBe(0);
  expect(service.err).toBe('');
  for (const told of ['PORT', 'REDIS_URL', 'DATA_DIR', '--help']) expect(service.out).toContain(told);
  expect(existsSync(join(folder, 'redis.sock'))).toBe(false);
});
