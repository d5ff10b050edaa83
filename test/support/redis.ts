import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';

/** A Redis of a test file's own, on a Unix socket in a folder of its own. */
export interface TestRedis {
  readonly path: string;
  readonly client: Redis;
  stop(): Promise<void>;
}

/** Starts a real redis-server; on a port of the loopback interface as well, if one is given. */
export async function startTestRedis(port = 0): Promise<TestRedis> {
  const folder = await mkdtemp(join(tmpdir(), 'tl-redis-'));
  const path = join(folder, 'r.sock');
  const child = spawn(
    'redis-server',
    [
      '--port',
      `${port}`,
      '--bind',
      '127.0.0.1',
      '--unixsocket',
      path,
      '--dir',
      folder,
      '--save',
      '',
      '--appendonly',
      'no',
    ],
    {
      stdio: 'ignore',
    },
  );
  const client = new Redis(path, { retryStrategy: () => 50, maxRetriesPerRequest: null });
  client.on('error', () => {});
  await client.ping();
  return {
    path,
    client,
    stop: async () => {
      client.disconnect();
      const exit = once(child, 'exit');
      child.kill('SIGKILL');
      await exit;
      await rm(folder, { recursive: true, force: true });
    },
  };
}
