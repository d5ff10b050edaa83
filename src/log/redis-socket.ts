import { Redis, ReplyError } from 'ioredis';

/** What is heard on a Unix socket: `nobody` listens there, or who does is `mute`, or a Redis answers. */
export type Hearing = 'nobody' | 'mute' | 'loading' | 'ready';

/** Asks once how the Redis on that socket is. */
export function hear(socketPath: string, timeoutMs: number): Promise<Hearing> {
  return converse(socketPath, timeoutMs, async (redis) => {
    try {
      await redis.ping();
      return 'ready';
    } catch (error) {
      return error instanceof ReplyError ? 'loading' : 'mute';
    }
  });
}

/** Has the Redis on that socket write what it holds and end: `gone` once its process has let go of the connection. */
export function shutDown(
  socketPath: string,
  timeoutMs: number,
): Promise<'nobody' | 'mute' | 'here' | 'gone'> {
  return converse(socketPath, timeoutMs, async (redis) => {
    await redis.shutdown().catch(() => {});
    return redis.status === 'ready' ? 'here' : 'gone';
  });
}

/** The process id of the Redis on that socket, if it tells. */
export async function processIdOf(socketPath: string, timeoutMs: number): Promise<number | undefined> {
  const info = await converse(socketPath, timeoutMs, (redis) => redis.info('server'));
  const id = /process_id:(\d+)/.exec(info)?.[1];
  return id === undefined ? undefined : Number(id);
}

async function converse<Answer>(
  socketPath: string,
  timeoutMs: number,
  talk: (redis: Redis) => Promise<Answer>,
): Promise<Answer | 'nobody' | 'mute'> {
  const redis = new Redis(socketPath, {
    protocol: 2,
    lazyConnect: true,
    // The client's own check waits until a Redis that loads is done, but that is an answer here, and one may be shut down.
    enableReadyCheck: false,
    disableClientInfo: true,
    retryStrategy: () => null,
    maxRetriesPerRequest: 0,
    connectTimeout: timeoutMs,
    commandTimeout: timeoutMs,
  });
  let reason: string | undefined;
  redis.on('error', ({ code }: NodeJS.ErrnoException) => {
    reason ??= code;
  });
  try {
    await redis.connect();
    return await talk(redis);
  } catch {
    return reason === 'ENOENT' || reason === 'ECONNREFUSED' ? 'nobody' : 'mute';
  } finally {
    redis.disconnect();
  }
}
