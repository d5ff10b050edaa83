import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import { Redis } from 'ioredis';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import {
  type EmbeddedRedis,
  type EmbeddedRedisOptions,
  startEmbeddedRedis,
} from '../src/log/embedded-redis.ts';
import { StartError } from '../src/log/start-error.ts';

const PATIENCE = { timeout: 15_000, interval: 20 };

let folder: string;
let started: EmbeddedRedis[];
let clients: Redis[];
let owners: ChildProcess[];
let said: string[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tl-'));
  [started, clients, owners, said] = [[], [], [], []];
});

afterEach(async () => {
  for (const client of clients) client.disconnect();
  for (const owner of owners) owner.kill('SIGKILL');
  await Promise.all(started.map((redis) => redis.close()));
  for (const { pid } of await redisesIn(folder)) signalTo(pid, 'KILL');
  await vi.waitFor(async () => expect(await redisesIn(folder)).toEqual([]), PATIENCE);
  await rm(folder, { recursive: true });
});

test('what was written is there again after a stop and a start', async () => {
  const first = await start();
  await open(first).set('said', 'hello');
  await first.close();
  const second = await start();
  expect(await open(second).get('said')).toBe('hello');
});

test('closing leaves no process and no socket, and may be asked for twice', async () => {
  const redis = await start();
  await Promise.all([redis.close(), redis.close()]);
  await redis.close();
  expect(await redisesIn(folder)).toEqual([]);
  expect(await socketsIn(folder)).toEqual([]);
});

test('its folder, made where there is none, is for its owner’s eyes', async () => {
  const dataDir = join(folder, 'deep', 'data');
  const redis = await start({ dataDir });
  expect((await stat(dataDir)).mode & 0o777).toBe(0o700);
  expect((await stat(redis.socketPath)).mode & 0o777).toBe(0o700);
});

test('it is in a process group of its own, so a Ctrl-C meant for the service passes it by', async () => {
  await start();
  expect(await redisesIn(folder)).toEqual([{ pid: expect.any(Number), group: expect.any(Number) }]);
  const [redis] = await redisesIn(folder);
  expect(redis?.group).toBe(redis?.pid);
});

test('it keeps every message, and forgets none when its memory is full', async () => {
  const redis = open(await start());
  expect(await redis.config('GET', 'appendfsync')).toEqual(['appendfsync', 'always']);
  expect(await redis.config('GET', 'maxmemory-policy')).toEqual(['maxmemory-policy', 'noeviction']);
  expect(await redis.config('GET', 'port')).toEqual(['port', '0']);
});

describe('one service at a time', () => {
  test('a second start on the folder is refused, and the first goes on unharmed', async () => {
    const first = await start();
    await expect(start()).rejects.toThrow(/is in use by another Throughline/);
    await expect(start()).rejects.toThrow(StartError);
    expect(await open(first).ping()).toBe('PONG');
    await first.close();
    await start();
  });

  test('of many starts at once, exactly one wins', async () => {
    const outcomes = await Promise.allSettled(Array.from({ length: 5 }, () => start()));
    const refusals = outcomes.flatMap((outcome) =>
      outcome.status === 'rejected' ? [outcome.reason.message] : [],
    );
    expect(refusals).toHaveLength(4);
    for (const refusal of refusals) expect(refusal).toMatch(/is in use by another Throughline/);
    expect(await redisesIn(folder)).toHaveLength(1);
  });

  test('of many starts at once over what a killed service left, exactly one wins', async () => {
    const owner = await startOwner();
    owner.kill('SIGKILL');
    await once(owner, 'exit');
    const outcomes = await Promise.allSettled(Array.from({ length: 5 }, () => start()));
    expect(outcomes.filter((outcome) => outcome.status === 'fulfilled')).toHaveLength(1);
    expect(await redisesIn(folder)).toHaveLength(1);
  });

  test('an owner that is stopped for a while still has its folder', async () => {
    const owner = await startOwner();
    owner.kill('SIGSTOP');
    await expect(start()).rejects.toThrow(/is in use by another Throughline/);
    owner.kill('SIGCONT');
  });
});

describe('after a kill', () => {
  test('a killed Redis is started again and has lost no acknowledged write', async () => {
    const redis = await start();
    const client = open(redis);
    const [killed] = await redisesIn(folder);
    const acknowledged: number[] = [];
    const writing = new AbortController();
    const writer = (async () => {
      for (let i = 0; !writing.signal.aborted; i++) {
        await client.set(`written:${i}`, i).then(
          () => acknowledged.push(i),
          () => {},
        );
      }
    })();
    await vi.waitFor(() => expect(acknowledged.length).toBeGreaterThan(50), PATIENCE);
    signalTo(killed?.pid, 'KILL');
    await vi.waitFor(() => expect(said).toContain('the embedded Redis is back'), PATIENCE);
    const before = acknowledged.length;
    await vi.waitFor(() => expect(acknowledged.length).toBeGreaterThan(before + 50), PATIENCE);
    writing.abort();
    await writer;
    expect(await client.mget(acknowledged.map((i) => `written:${i}`))).toEqual(acknowledged.map(String));
    expect((await redisesIn(folder)).map(({ pid }) => pid)).not.toContain(killed?.pid);
  });

  test('closing between a death and the next start leaves nothing behind', async () => {
    const redis = await start();
    const [running] = await redisesIn(folder);
    signalTo(running?.pid, 'KILL');
    await vi.waitFor(
      () => expect(said).toContain('the embedded Redis died and will be started again'),
      PATIENCE,
    );
    await redis.close();
    expect(await redisesIn(folder)).toEqual([]);
    expect(await socketsIn(folder)).toEqual([]);
  });

  test('a Redis left behind by a killed service is taken over with all it holds', async () => {
    const owner = await startOwner();
    const client = open({ socketPath: join(folder, 'redis.sock') });
    await client.set('said', 'before the kill');
    client.disconnect();
    const [orphan] = await redisesIn(folder);
    owner.kill('SIGKILL');
    await once(owner, 'exit');
    expect(await redisesIn(folder)).toEqual([orphan]);
    const redis = await start();
    expect(await open(redis).get('said')).toBe('before the kill');
    const now = await redisesIn(folder);
    expect(now).toHaveLength(1);
    expect(now[0]?.pid).not.toBe(orphan?.pid);
    expect(await socketsIn(folder)).toEqual([expect.stringMatching(/^owner\./), 'redis.sock']);
  });

  test('what a killed Redis was rewriting is cleared away', async () => {
    await writeFile(join(folder, 'temp-rewriteaof-1234.aof'), 'half');
    await start();
    expect(await readdir(folder)).not.toContain('temp-rewriteaof-1234.aof');
  });

  test('a Redis that hangs is ended all the same', async () => {
    const redis = await start();
    signalTo((await redisesIn(folder))[0]?.pid, 'STOP');
    await redis.close();
    expect(await redisesIn(folder)).toEqual([]);
  }, 30_000);
});

describe('what keeps it from starting is one sentence', () => {
  test.each([
    ['no program on the PATH', () => ({ path: join(folder, 'bin') }), /npm run setup.*REDIS_URL/],
    ['an empty PATH', () => ({ path: '' }), /npm run setup.*REDIS_URL/],
    ['a path too long for a socket', () => ({ dataDir: join(folder, 'x'.repeat(90)) }), /DATA_DIR.*shorter/],
    [
      'a file in the folder’s place',
      () => ({ dataDir: join(folder, 'file') }),
      /can’t be made \(EEXIST\).*DATA_DIR/,
    ],
    [
      'a place under a file',
      () => ({ dataDir: join(folder, 'file', 'data') }),
      /can’t be made \(ENOTDIR\).*DATA_DIR/,
    ],
    ['a folder that can’t be written', () => ({ dataDir: '/proc/self' }), /DATA_DIR/],
  ])('%s', async (_, options, sentence) => {
    await writeFile(join(folder, 'file'), '');
    const refused = start(options());
    await expect(refused).rejects.toThrow(sentence);
    await expect(refused).rejects.toThrow(StartError);
    await expect(refused).rejects.not.toThrow(/\n/);
  });

  test('files that Redis can’t read, with its own words', async () => {
    const redis = await start();
    await open(redis).set('said', 'hello');
    await redis.close();
    const files = join(folder, 'appendonlydir');
    const manifest = (await readdir(files)).find((name) => name.endsWith('.manifest'));
    await writeFile(join(files, manifest ?? ''), 'nonsense\n');
    await expect(start()).rejects.toThrow(/Redis ended while it started \(exit code 1: .*manifest.*\)/i);
    expect(await socketsIn(folder)).toEqual([]);
  });

  test('whoever else listens on its socket and doesn’t go', async () => {
    const stranger = createServer((socket) => socket.on('data', () => socket.write('-ERR no\r\n')));
    stranger.listen(join(folder, 'redis.sock'));
    await once(stranger, 'listening');
    await expect(start()).rejects.toThrow(/doesn’t end; end it, then start again/);
    stranger.close();
  });
});

test('a start that takes too long for its operator is given up, and leaves nothing', async () => {
  const path = await programs(
    'redis-server',
    '#!/bin/sh\n[ "$1" = --version ] || while :; do sleep 0.1; done\n',
  );
  const operator = new AbortController();
  const refused = expect(start({ path, signal: operator.signal })).rejects.toThrow('enough');
  await vi.waitFor(async () => expect(await redisesIn(folder)).toHaveLength(1), PATIENCE);
  operator.abort(new Error('enough'));
  await refused;
  expect(await redisesIn(folder)).toEqual([]);
  expect(await socketsIn(folder)).toEqual([]);
});

test('Valkey does where there is no Redis', async () => {
  const path = await programs('valkey-server', `#!/bin/sh\nexec ${realProgram()} "$@"\n`);
  expect(await open(await start({ path })).ping()).toBe('PONG');
});

test('data that takes its time to load is waited for', async () => {
  const first = await start();
  const client = open(first);
  const keys = 3000;
  await Promise.all(Array.from({ length: keys }, (_, i) => client.set(`key:${i}`, 'x'.repeat(100))));
  await first.close();
  const slowly = '--key-load-delay 1000 --loading-process-events-interval-bytes 1024';
  const path = await programs('redis-server', `#!/bin/sh\nexec ${realProgram()} "$@" ${slowly}\n`);
  const began = Date.now();
  const second = await start({ path });
  expect(Date.now() - began).toBeGreaterThan(2000);
  expect(said).toContain('waiting for Redis, which is slow or loading its data');
  expect(await open(second).dbsize()).toBe(keys);
});

async function start(options: Partial<EmbeddedRedisOptions> = {}): Promise<EmbeddedRedis> {
  const say = (_: object, sentence: string): void => void said.push(sentence);
  const redis = await startEmbeddedRedis({
    dataDir: folder,
    log: { info: say, warn: say, error: say },
    ...options,
  });
  started.push(redis);
  return redis;
}

/** A process of its own that owns the folder, so that it can be killed without its Redis. */
async function startOwner(): Promise<ChildProcess> {
  const script = join(folder, 'owner.cjs');
  const contents = `
    import { startEmbeddedRedis } from './src/log/embedded-redis.ts';
    const log = { info() {}, warn() {}, error() {} };
    startEmbeddedRedis({ dataDir: ${JSON.stringify(folder)}, log }).then(() => console.log('started'));`;
  const resolveDir = join(import.meta.dirname, '..');
  await build({
    stdin: { contents, resolveDir, loader: 'ts' },
    outfile: script,
    bundle: true,
    platform: 'node',
    format: 'cjs',
  });
  const owner = spawn('node', [script], { stdio: ['ignore', 'pipe', 'inherit'] });
  owners.push(owner);
  await once(owner.stdout, 'data');
  return owner;
}

/** A folder to be searched for programs, with one in it. */
async function programs(name: string, script: string): Promise<string> {
  const path = join(folder, 'bin');
  await mkdir(path);
  await writeFile(join(path, name), script, { mode: 0o755 });
  return path;
}

function realProgram(): string {
  return execFileSync('sh', ['-c', 'command -v redis-server || command -v valkey-server'], {
    encoding: 'utf8',
  }).trim();
}

async function socketsIn(path: string): Promise<string[]> {
  return (await readdir(path)).filter((name) => name.endsWith('.sock')).sort();
}

function open({ socketPath }: Pick<EmbeddedRedis, 'socketPath'>): Redis {
  const client = new Redis(socketPath, { protocol: 2, retryStrategy: () => 20, maxRetriesPerRequest: null });
  client.on('error', () => {});
  clients.push(client);
  return client;
}

function signalTo(pid: number | undefined, signal: string): void {
  execFileSync('kill', [`-${signal}`, String(pid)]);
}

/** The Redis processes that serve from a folder; their command lines name its socket. */
async function redisesIn(path: string): Promise<{ pid: number; group: number }[]> {
  return (await processes())
    .filter(({ command }) => command.includes(`${path}/`) && command.includes('redis.sock'))
    .map(({ pid, group }) => ({ pid, group }));
}

/** From /proc, since small images have no `ps`; from `ps` where there is no /proc. */
async function processes(): Promise<{ pid: number; group: number; command: string }[]> {
  if (!existsSync('/proc/self/stat')) {
    const lines = execFileSync('ps', ['-axo', 'pid=,pgid=,command='], { encoding: 'utf8' }).split('\n');
    return lines.map((line) => {
      const [pid, group, ...command] = line.trim().split(/\s+/);
      return { pid: Number(pid), group: Number(group), command: command.join(' ') };
    });
  }
  const found = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const read = found.map(async (pid) => {
    const [command, status] = await Promise.all([
      readFile(`/proc/${pid}/cmdline`, 'utf8'),
      readFile(`/proc/${pid}/stat`, 'utf8'),
    ]);
    const [, , group] = status.slice(status.lastIndexOf(')') + 2).split(' ');
    return { pid: Number(pid), group: Number(group), command };
  });
  const settled = await Promise.allSettled(read);
  return settled.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
}
