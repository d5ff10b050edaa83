import { type RedisOptions as LibraryOptions, Redis } from 'ioredis';

type RedisOptions = Omit<LibraryOptions, 'replyMapping'>;

import type { Log } from './logger.ts';
import { StartError } from './start-error.ts';

/** Where Redis is: a URL (`redis://`, `rediss://`) or the path of a Unix socket. */
export type RedisAddress = { readonly url: string } | { readonly path: string };

/** The service's connections to Redis, by what must not wait for what. */
export interface Connections {
  /** Posts, sessions and all else that is quick. */
  readonly commands: Redis;
  /** Pages of the logs: large answers, which would hold up a post. */
  readonly reads: Redis;
  /** The tail's: a blocking read stalls everything queued behind it. */
  readonly tail: Redis;
  close(): void;
}

const COMMAND_TIMEOUT_MS = 5000;
/** The tail's reads answer every second: a socket quiet for longer leads nowhere. */
const TAIL_SOCKET_TIMEOUT_MS = 5000;
const OLDEST_VERSION = [6, 2] as const;
const MAX_RECONNECT_DELAY_MS = 1000;

/**
 * No command waits in a queue for Redis to come back, and none is sent a second time by the client library: whoever
 * asked hears at once that it failed, and whether it was sent.
 */
const FAIL_FAST: RedisOptions = {
  enableOfflineQueue: false,
  autoResendUnfulfilledCommands: false,
  maxRetriesPerRequest: 0,
  protocol: 2,
  retryStrategy: (attempt) => Math.random() * Math.min(MAX_RECONNECT_DELAY_MS, 50 * 2 ** attempt) + 20,
};

/** Opens the connections. Throws a StartError where Redis can't be used as it is. */
export async function connect(address: RedisAddress, log: Log): Promise<Connections> {
  await inspect(address);
  const open = (role: string, options: RedisOptions): Redis => {
    const redis = newRedis(address, { ...FAIL_FAST, ...options, connectionName: `throughline-${role}` });
    redis.on('error', (error: Error) =>
      log.warn({ role, reason: error.message }, 'the connection to Redis failed'),
    );
    return redis;
  };
  const commands = open('commands', { commandTimeout: COMMAND_TIMEOUT_MS, enableAutoPipelining: true });
  const reads = open('reads', { commandTimeout: COMMAND_TIMEOUT_MS });
  const tail = open('tail', { socketTimeout: TAIL_SOCKET_TIMEOUT_MS });
  const all = [commands, reads, tail];
  await Promise.all(all.map(untilReady));
  return { commands, reads, tail, close: () => all.forEach((redis) => void redis.disconnect()) };
}

function newRedis(address: RedisAddress, options: RedisOptions): Redis {
  return 'url' in address ? new Redis(address.url, options) : new Redis(address.path, options);
}

function untilReady(redis: Redis): Promise<void> {
  if (redis.status === 'ready') return Promise.resolve();
  return new Promise((resolve) => redis.once('ready', resolve));
}

/** Asks Redis what it is, and turns whatever is wrong with it into one sentence. */
async function inspect(address: RedisAddress): Promise<void> {
  const name = 'url' in address ? withoutPassword(address.url) : address.path;
  const redis = newRedis(address, {
    ...FAIL_FAST,
    lazyConnect: true,
    retryStrategy: () => null,
    commandTimeout: COMMAND_TIMEOUT_MS,
  });
  let reason: Error | undefined;
  redis.on('error', (error: Error) => {
    reason ??= error;
  });
  try {
    await redis.connect();
    const info = await redis.info();
    const version = /redis_version:(\d+)\.(\d+)/.exec(info);
    const [major, minor] = [Number(version?.[1]), Number(version?.[2])];
    if (major < OLDEST_VERSION[0] || (major === OLDEST_VERSION[0] && minor < OLDEST_VERSION[1])) {
      throw new StartError(
        `Redis at ${name} is version ${major}.${minor}; Throughline needs ${OLDEST_VERSION.join('.')} or later.`,
      );
    }
    const policy = /maxmemory_policy:(\S+)/.exec(info)?.[1];
    if (policy !== undefined && policy !== 'noeviction') {
      throw new StartError(
        `Redis at ${name} may evict keys when its memory is full (maxmemory-policy ${policy}), which would lose messages; set it to noeviction.`,
      );
    }
  } catch (error) {
    if (error instanceof StartError) throw error;
    throw new StartError(`Redis at ${name} can’t be used: ${explain(reason ?? error)}`);
  } finally {
    redis.disconnect();
  }
}

function explain(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (/WRONGPASS|NOAUTH|invalid password|without any password/i.test(message))
    return `it refused the log-in (${message}).`;
  if (code === 'ECONNREFUSED') return 'nothing listens there.';
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return 'there is no host of that name.';
  return `${message.replace(/\.$/, '')}.`;
}

function withoutPassword(url: string): string {
  return url.replace(/\/\/[^@/]*@/, '//…@');
}
