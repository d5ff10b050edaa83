import type { Redis } from 'ioredis';
import { inspectRedis } from './inspect-redis.ts';
import type { Log } from './logger.ts';
import { openCluster, openRedis, type RedisOptions } from './open-redis.ts';
import type { RedisAddress } from './redis-address.ts';
import type { RedisClient } from './redis-client.ts';
import { unlessAborted } from './unless-aborted.ts';

/** The service's connections to Redis, by what must not wait for what. */
export interface Connections {
  /** Posts, sessions and all else that is quick. */
  readonly commands: RedisClient;
  /** Pages of the logs: large answers, which would hold up a post. */
  readonly reads: RedisClient;
  /** One for each shard's tail: a blocking read stalls everything queued behind it. */
  readonly tails: readonly RedisClient[];
  /** Posts that wait for replicas, which stalls everything queued behind them; undefined where they don't. */
  readonly replicated: RedisClient | undefined;
  /** Opens one more, for what must hold up none of these. */
  openAnother(role: string): Promise<RedisClient>;
  close(): void;
}

/** How the service uses Redis, and how long it waits for it. */
export interface ConnectOptions {
  /** How many replicas a post waits for; undefined: for none. */
  readonly replicas?: number | undefined;
  /** How many tails there will be. */
  readonly shards?: number;
  /** Gives up: a Redis that loads gigabytes takes minutes, and one that went away may stay so. */
  readonly signal?: AbortSignal | undefined;
}

const COMMAND_TIMEOUT_MS = 5000;
/** The tail's reads answer every second: a socket quiet for longer leads nowhere. */
const TAIL_SOCKET_TIMEOUT_MS = 5000;

/** Opens the connections. Throws a StartError where Redis can't be used as it is, and the signal's reason where that aborts. */
export async function connect(
  address: RedisAddress,
  log: Log,
  { replicas, shards = 1, signal }: ConnectOptions = {},
): Promise<Connections> {
  await inspectRedis(address, log, { replicas, signal });
  const opened: OpenClient[] = [];
  const open = (role: string, options: RedisOptions): RedisClient => {
    const told = (error: Error) =>
      log.warn({ role, reason: error.message }, 'the connection to Redis failed');
    const client = openClient(address, { ...options, connectionName: `throughline-${role}` }, told);
    opened.push(client);
    return client.redis;
  };
  const commands = open('commands', { commandTimeout: COMMAND_TIMEOUT_MS, enableAutoPipelining: true });
  const reads = open('reads', { commandTimeout: COMMAND_TIMEOUT_MS });
  const tails = Array.from({ length: shards }, () => open('tail', { socketTimeout: TAIL_SOCKET_TIMEOUT_MS }));
  const replicated =
    replicas === undefined ? undefined : open('replicated', { commandTimeout: COMMAND_TIMEOUT_MS });
  const close = () => opened.forEach(({ redis }) => void redis.disconnect());
  try {
    await unlessAborted(Promise.all(opened.map(({ ready }) => ready)), signal);
  } catch (error) {
    close();
    throw error;
  }
  const openAnother = async (role: string) => {
    const redis = open(role, { commandTimeout: COMMAND_TIMEOUT_MS });
    await opened.at(-1)?.ready;
    return redis;
  };
  return { commands, reads, tails, replicated, openAnother, close };
}

interface OpenClient {
  readonly redis: RedisClient;
  readonly ready: Promise<void>;
}

function openClient(
  address: RedisAddress,
  options: RedisOptions,
  failed: (error: Error) => void,
): OpenClient {
  if ('cluster' in address) {
    const cluster = openCluster(address, options);
    cluster.on('error', failed);
    cluster.on('node error', failed);
    const ready = new Promise<void>((resolve) => cluster.once('ready', resolve)).then(async () => {
      await Promise.all(cluster.nodes('master').map(untilReady));
    });
    return { redis: cluster, ready };
  }
  const redis = openRedis(address, options);
  redis.on('error', failed);
  return { redis, ready: untilReady(redis) };
}

/** A Cluster's node that is gone again ends instead. */
function untilReady(redis: Redis): Promise<void> {
  if (redis.status === 'ready' || redis.status === 'end') return Promise.resolve();
  return new Promise((resolve) => redis.once('ready', resolve).once('end', resolve));
}
