import { join, resolve } from 'node:path';
import type { SiteName } from '../chat/sites.ts';
import { type Config, configFrom } from '../config.ts';
import { ApiKeys } from '../log/api-keys.ts';
import { Appender } from '../log/append.ts';
import { type Connections, connect } from '../log/connections.ts';
import { startEmbeddedRedis } from '../log/embedded-redis.ts';
import { Keys } from '../log/keys.ts';
import type { Log } from '../log/logger.ts';
import { parseRedisAddress, type RedisAddress } from '../log/redis-address.ts';
import type { RedisClient } from '../log/redis-client.ts';
import { hear } from '../log/redis-socket.ts';
import { readRedisTls } from '../log/redis-tls.ts';
import { shardIndexOf, tagsOf } from '../log/shards.ts';
import { SiteBook } from '../log/site-book.ts';
import { StartError } from '../log/start-error.ts';
import type { Io } from './io.ts';

/** What Redis holds, for a command that reads or changes it beside the service. */
export interface Books {
  readonly redis: RedisClient;
  readonly keys: Keys;
  readonly sites: SiteBook;
  readonly apiKeys: ApiKeys;
  /** The keys of the site's shard. */
  keysOf(site: SiteName): Keys;
  appenderOf(site: SiteName): Appender;
  close(): Promise<void>;
}

const HEAR_WITHIN_MS = 2000;

type StoreFlags = Readonly<Partial<Record<'redis-url' | 'data-dir' | 'namespace', string>>>;

/**
 * Opens what REDIS_URL or else the private Redis in DATA_DIR holds. The private one is asked on its socket while a service
 * runs it, and otherwise started for the moment. Throws a StartError, and the signal's reason where that aborts.
 */
export async function openBooks({ env, signal }: Io, flags: StoreFlags): Promise<Books> {
  const config = storeConfig(env, flags);
  const { address, close: closeStore } = await storeOf(config, signal);
  let connections: Connections | undefined;
  const close = async () => {
    connections?.close();
    await closeStore();
  };
  try {
    connections = await connect(address, SILENT, { signal });
    const redis = connections.commands;
    const keys = new Keys(config.namespace);
    const tags = tagsOf(Number((await redis.get(keys.shards)) ?? config.shards));
    const keysOf = (site: SiteName) => new Keys(config.namespace, tags[shardIndexOf(site, tags.length)]);
    return {
      redis,
      keys,
      sites: new SiteBook(redis, keys),
      apiKeys: new ApiKeys(redis, keys),
      keysOf,
      appenderOf: (site) => new Appender(redis, keysOf(site), config),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

function storeConfig(env: Io['env'], flags: StoreFlags): Config {
  const names = ['redis-url', 'data-dir', 'namespace'] as const;
  const given = names.flatMap((name) => (flags[name] === undefined ? [] : [`--${name}=${flags[name]}`]));
  // Only where Redis is matters here: what else is set may be for another process.
  const { REDIS_URL, REDIS_CA, REDIS_CERT, REDIS_KEY, DATA_DIR, NAMESPACE, SHARDS } = env;
  const asked = configFrom(
    { REDIS_URL, REDIS_CA, REDIS_CERT, REDIS_KEY, DATA_DIR, NAMESPACE, SHARDS },
    given,
  );
  if (asked.kind === 'help') throw new StartError('--help takes no value.');
  return asked.config;
}

async function storeOf(
  config: Config,
  signal: AbortSignal,
): Promise<{ address: RedisAddress; close: () => Promise<void> }> {
  const { redisUrl, dataDir } = config;
  if (redisUrl !== undefined)
    return { address: parseRedisAddress(redisUrl, readRedisTls(config)), close: async () => {} };
  const socketPath = join(resolve(dataDir), 'redis.sock');
  if ((await hear(socketPath, HEAR_WITHIN_MS)) !== 'nobody')
    return { address: { path: socketPath }, close: async () => {} };
  const embedded = await startEmbeddedRedis({ dataDir, log: SILENT, signal });
  return { address: { path: embedded.socketPath }, close: () => embedded.close() };
}

/** What goes wrong is said by what the command throws. */
const SILENT: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
