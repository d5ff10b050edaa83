import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { generate } from 'selfsigned';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { configFrom } from '../src/config.ts';
import { carriers } from './support/carriers.ts';
import { freePort } from './support/free-port.ts';
import { startTestRedis } from './support/redis.ts';
import { Person } from './support/service.ts';
import { childrenOf, isAlive, ServiceProcess } from './support/service-process.ts';
import { Traffic } from './support/traffic.ts';
import { waitFor } from './support/wait-for.ts';

const WORKERS = 3;

let folder: string;
const started: ServiceProcess[] = [];
const cleanUps: (() => Promise<void>)[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tl-w-'));
});

afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
  for (const service of started.splice(0)) {
    const pids = childrenOf(service.child.pid).map(({ pid }) => pid);
    await service.kill('SIGKILL');
    for (const pid of pids) if (isAlive(pid)) process.kill(pid, 'SIGKILL');
    await waitFor('the end of all', () => !pids.some(isAlive));
  }
  await rm(folder, { recursive: true, force: true });
});

function launch(env: Record<string, string> = {}): ServiceProcess {
  const service = new ServiceProcess([], {
    WORKERS: `${WORKERS}`,
    PORT: '0',
    DATA_DIR: folder,
    LOG_LEVEL: 'info',
    ...env,
  });
  started.push(service);
  return service;
}

const workersOf = (service: ServiceProcess) =>
  childrenOf(service.child.pid)
    .filter(({ command }) => command.endsWith(' worker'))
    .map(({ pid }) => pid);

const redisesOf = (service: ServiceProcess) =>
  childrenOf(service.child.pid)
    .filter(({ command }) => command.includes('redis.sock'))
    .map(({ pid }) => pid);

/** What was logged with that sentence. */
const logged = (service: ServiceProcess, sentence: string) =>
  service.out
    .split('\n')
    .filter((line) => line.startsWith('{') && line.includes(sentence))
    .map((line) => JSON.parse(line) as { msg: string; worker?: number; how?: string; reason?: string })
    .filter(({ msg }) => msg === sentence);

/** Waits until so many workers listen. */
async function untilAllServe(service: ServiceProcess, count = WORKERS): Promise<string> {
  const url = await service.url();
  await waitFor('all workers', () => logged(service, 'a worker listens').length >= count, 20_000);
  return url;
}

async function beginTraffic(url: string): Promise<Traffic> {
  const traffic = await Traffic.begin(url, { posters: 3, pauseMs: 20 });
  cleanUps.push(() => traffic.stop());
  await traffic.more(50);
  return traffic;
}

/** Sends a part of a post, which a stop then waits for. */
async function beginPost(url: string): Promise<void> {
  const person = await Person.logIn(url);
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  cleanUps.push(async () => void socket.destroy());
  socket.on('error', () => {});
  socket.write(
    `POST /api/rooms/lobby/messages HTTP/1.1\r\nHost: x\r\nCookie: ${person.cookie}\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{`,
  );
  await waitFor('the request to arrive', () => new Promise((resolve) => setTimeout(resolve, 200, true)));
}

describe('under traffic', () => {
  test('workers killed one after the other lose and double nothing, and others take their places', async () => {
    const service = launch();
    const traffic = await beginTraffic(await untilAllServe(service));
    const first = workersOf(service);
    expect(first).toHaveLength(WORKERS);
    for (const [i, pid] of first.entries()) {
      process.kill(pid, 'SIGKILL');
      await traffic.more(50);
      await waitFor('the next', () => logged(service, 'a worker listens').length === WORKERS + i + 1, 20_000);
    }
    await traffic.settle();
    expect(workersOf(service)).toHaveLength(WORKERS);
    expect(workersOf(service).filter((pid) => first.includes(pid))).toEqual([]);
    expect(logged(service, 'a worker died; another takes its place').map(({ how }) => how)).toEqual(
      first.map(() => 'SIGKILL'),
    );
  }, 120_000);

  test('a rolling restart replaces every worker; no request fails, no connection is refused', async () => {
    const service = launch();
    const traffic = await beginTraffic(await untilAllServe(service));
    const first = workersOf(service);
    service.child.kill('SIGHUP');
    await waitFor('the new workers', () => logged(service, 'all workers were restarted').length > 0, 90_000);
    await traffic.more(50);
    await traffic.settle();
    expect(traffic.faults).toEqual([]);
    expect(workersOf(service).filter((pid) => !first.includes(pid))).toHaveLength(WORKERS);
    expect(logged(service, 'a worker died; another takes its place')).toEqual([]);
    // Those that still keep idle connections end with all the others.
    expect(await service.kill('SIGTERM')).toBe(0);
    expect(first.filter(isAlive)).toEqual([]);
  }, 120_000);

  test('one that serves alone goes on when it is asked to restart in turn, and so does its Redis', async () => {
    const service = launch({ WORKERS: '1' });
    const url = await service.url();
    const person = await Person.logIn(url);
    const redises = redisesOf(service);
    service.child.kill('SIGHUP');
    await waitFor('its word', () => service.out.includes('nothing to restart in turn'));
    await person.post('still here');
    expect(redises).toHaveLength(1);
    expect(await service.kill('SIGTERM')).toBe(0);
    expect(redises.filter(isAlive)).toEqual([]);
  });

  test('a stop says bye to all, and leaves neither process nor Redis', async () => {
    const service = launch();
    const url = await untilAllServe(service);
    const traffic = await beginTraffic(url);
    const person = await Person.logIn(url);
    const streams = carriers.filter(({ name }) => name.startsWith('SSE'));
    const open = Array.from({ length: 4 }, () => streams.map((way) => way.follow(person, ['lobby']))).flat();
    await waitFor('hello', () => open.every(({ all }) => all.length > 0));
    const redises = redisesOf(service);
    expect(redises).toHaveLength(1);
    const pids = [...workersOf(service), ...redises];
    expect(await service.kill('SIGTERM')).toBe(0);
    expect(service.err).toBe('');
    expect(pids.filter(isAlive)).toEqual([]);
    for (const follower of open) {
      await follower.done;
      expect(follower.failure).toBeUndefined();
      expect(follower.all.at(-1)).toMatchObject({ kind: 'bye', code: 'shutting_down' });
      expect(follower.all.at(-1)?.['retry']).toBeTypeOf('number');
    }
    await traffic.stop();
  });
});

describe('over a Redis of one’s own', () => {
  let env: Record<string, string>;
  beforeEach(async () => {
    const port = await freePort();
    const redis = await startTestRedis(port);
    cleanUps.push(() => redis.stop());
    env = { REDIS_URL: `redis://127.0.0.1:${port}` };
  });

  test('one address is printed; a session holds at every worker; logs name the worker', async () => {
    const service = launch(env);
    const url = await untilAllServe(service);
    expect(redisesOf(service)).toEqual([]);
    expect(service.out.match(/Throughline is at/g)).toHaveLength(1);
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:[1-9]\d*$/);
    const person = await Person.logIn(url);
    // Each on a connection of its own.
    const init = { headers: { Connection: 'close' } };
    for (let i = 0; i < 4 * WORKERS; i++) expect((await person.get('/api/rooms', init)).status).toBe(200);
    const askedWorkers = () => new Set(logged(service, 'request').map(({ worker }) => worker));
    await waitFor('requests at each worker', () => askedWorkers().size === WORKERS);
    expect(askedWorkers()).not.toContain(undefined);
  });

  test('a start that can’t succeed ends with the sentence of what is wrong', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    cleanUps.push(() => new Promise((resolve) => taken.close(() => resolve())));
    const { port } = taken.address() as AddressInfo;
    const service = launch({ ...env, PORT: String(port) });
    expect(await service.exit).toBe(1);
    expect(service.err).toMatch(/^Port \d+ of 127\.0\.0\.1 can’t be listened on: it is in use\.\n$/);
    expect(service.out).not.toContain('Throughline is at');
  });

  test('workers that crash again and again as they start end the service with a sentence', async () => {
    const crash = join(folder, 'crash.cjs');
    await writeFile(crash, "if (process.argv[2] === 'worker') process.exit(9);");
    const service = launch({ ...env, NODE_OPTIONS: `--require ${crash}` });
    expect(await service.exit).toBe(1);
    expect(service.err).toBe('Workers end while they start (exit code 9), 5 in a row.\n');
    expect(logged(service, 'a worker couldn’t start')).toHaveLength(4);
  });

  test('workers that can’t be replaced end the service only when none is left', async () => {
    const crash = join(folder, 'crash.cjs');
    await writeFile(crash, '');
    const service = launch({ ...env, NODE_OPTIONS: `--require ${crash}`, WORKERS: '2' });
    const url = await untilAllServe(service, 2);
    await writeFile(crash, "if (process.argv[2] === 'worker') process.exit(9);");
    service.child.kill('SIGHUP');
    const sentence = 'a new worker couldn’t start; the old ones stay';
    await waitFor('the failed restart', () => logged(service, sentence).length > 0);
    const [first, second] = workersOf(service);
    process.kill(first as number, 'SIGKILL');
    await waitFor('tries', () => logged(service, 'a worker couldn’t start').length > 1);
    await (await Person.logIn(url)).post('still here');
    process.kill(second as number, 'SIGKILL');
    expect(await service.exit).toBe(1);
    expect(service.err).toMatch(/^Workers end while they start \(exit code 9\), \d+ in a row\.\n$/);
  });

  test('a second signal ends all of it at once', async () => {
    const service = launch({ ...env, DRAIN_MS: '60000' });
    const url = await untilAllServe(service);
    await beginPost(url);
    const pids = workersOf(service);
    service.child.kill('SIGTERM');
    await waitFor('the stop', () => logged(service, 'stopping').length > 0);
    await waitFor('what isn’t busy to end', () => pids.filter(isAlive).length === 1);
    expect(service.hasExited).toBe(false);
    expect(await service.kill('SIGTERM')).toBe(1);
    await waitFor('the end of all', () => !pids.some(isAlive), 10_000);
  });

  describe('workers whose primary is killed end at once', () => {
    /** Well before the time is over in which a stop waits, which is a minute here. */
    const untilGone = async (pids: readonly number[]) => {
      cleanUps.push(async () => {
        for (const pid of pids) if (isAlive(pid)) process.kill(pid, 'SIGKILL');
      });
      await waitFor('the end of all', () => !pids.some(isAlive), 10_000);
    };

    test('while they start', async () => {
      const service = launch(env);
      await waitFor('the first', () => workersOf(service).length > 0, 20_000);
      const pids = workersOf(service);
      service.child.kill('SIGKILL');
      // While it loads its code it hears nothing, which takes seconds on a busy machine.
      await untilGone(pids);
    });

    test('while they stop', async () => {
      const service = launch({ ...env, DRAIN_MS: '60000' });
      const url = await untilAllServe(service);
      await beginPost(url);
      const pids = workersOf(service);
      service.child.kill('SIGTERM');
      await waitFor('the others to end', () => pids.filter(isAlive).length === 1);
      service.child.kill('SIGKILL');
      await untilGone(pids);
    });

    test('with lines still to log that nobody reads any more', async () => {
      const service = launch(env);
      const socket = connect(Number(new URL(await untilAllServe(service)).port), '127.0.0.1');
      cleanUps.push(async () => void socket.destroy());
      socket.on('error', () => {});
      const request = 'GET /api/nothing HTTP/1.1\r\nHost: x\r\n\r\n';
      socket.write(request);
      await once(socket, 'data');
      const pids = workersOf(service);
      for (const pid of pids) process.kill(pid, 'SIGSTOP');
      // All of it waits for the worker at once: requests, of which each is logged, the end of its primary and of its log's reader.
      await new Promise((resolve) => socket.write(request.repeat(50), resolve));
      service.child.stdout?.destroy();
      service.child.kill('SIGKILL');
      await once(service.child, 'exit');
      for (const pid of pids) process.kill(pid, 'SIGCONT');
      await untilGone(pids);
    });
  });

  test('with TLS every worker takes a renewed certificate, and plain HTTP is sent to HTTPS', async () => {
    const paths = { TLS_CERT: join(folder, 'cert.pem'), TLS_KEY: join(folder, 'key.pem') };
    const renew = async (name: string) => {
      const { cert, private: key } = await generate([{ name: 'commonName', value: name }]);
      await writeFile(paths.TLS_KEY, key);
      await writeFile(paths.TLS_CERT, cert);
    };
    await renew('first.example');
    const redirectPort = await freePort();
    const service = launch({ ...env, ...paths, HTTP_REDIRECT_PORT: String(redirectPort) });
    const url = await untilAllServe(service);
    expect(url).toMatch(/^https:/);
    const res = await fetch(`http://127.0.0.1:${redirectPort}/rooms?x=1`, { redirect: 'manual' });
    expect([res.status, res.headers.get('location')]).toEqual([308, `${url}/rooms?x=1`]);
    await renew('second.example');
    const renewed = () =>
      new Set(logged(service, 'the certificate was read again').map(({ worker }) => worker));
    await waitFor('all workers', () => renewed().size === WORKERS, 20_000);
    expect(renewed()).not.toContain(undefined);
  });
});

test('auto starts one worker for each core', async () => {
  const service = launch({ WORKERS: 'auto' });
  await service.url();
  const count = availableParallelism();
  // One core needs no workers.
  if (count > 1) await waitFor('all of them', () => workersOf(service).length === count);
});

test('WORKERS is a number or auto', () => {
  const workers = (text: string) => {
    const asked = configFrom({ WORKERS: text }, []);
    return asked.kind === 'run' && asked.config.workers;
  };
  expect(workers('')).toBe(1);
  expect(workers('4')).toBe(4);
  expect(workers('auto')).toBe(availableParallelism());
  for (const text of ['0', '-1', '1.5', 'all', 'Auto', '257', '4 ', '1e1']) {
    expect(() => workers(text)).toThrow(/^WORKERS must be auto, or a whole number from 1 to 256, not "/);
  }
});
