import type { Cluster } from 'ioredis';
import type { ConnectOptions } from './connections.ts';
import type { Log } from './logger.ts';
import { ONCE, openCluster, openRedis, type RedisOptions } from './open-redis.ts';
import { type ClusterAddress, nameOf, type RedisAddress, type SentinelAddress } from './redis-address.ts';
import { explainRedis, faultsOf, OF_SENTINELS } from './redis-faults.ts';
import { sayWhenLate } from './say-when-late.ts';
import { StartError } from './start-error.ts';
import { unlessAborted } from './unless-aborted.ts';

const OLDEST_VERSION = [6, 2] as const;
const ALL_SLOTS = 16384;
const ANSWER_WITHIN_MS = 5000;
/** The library's words for a connection that it closed, or never had, whatever the reason was. */
const CLOSED = 'Connection is closed.';
const OPTIONS: RedisOptions = { ...ONCE, commandTimeout: ANSWER_WITHIN_MS };

/** A Cluster's own waiting has no end where its nodes say nothing of where they are. */
const CONNECTED_WITHIN_MS = 15_000;

/** A master, and what it says of itself. */
interface Master {
  readonly name: string;
  readonly info: string;
}

/**
 * Asks each master what it is, and turns whatever is wrong into one sentence: a StartError. One that loads its data is waited
 * for, but for a Cluster's, which tells nobody where its nodes are meanwhile. Throws the signal's reason where that aborts.
 */
export async function inspectRedis(
  address: RedisAddress,
  log: Pick<Log, 'info' | 'warn'>,
  { replicas, signal }: Pick<ConnectOptions, 'replicas' | 'signal'>,
): Promise<void> {
  const masters = await sayWhenLate(log, nameOf(address), async () =>
    'cluster' in address ? await askCluster(address, signal) : [await askServer(address, signal)],
  );
  for (const master of masters) {
    mustBeUsable(master);
    if (replicas !== undefined) countReplicas(master, replicas, log);
  }
}

async function askServer(
  address: Exclude<RedisAddress, ClusterAddress>,
  signal: AbortSignal | undefined,
): Promise<Master> {
  const name = nameOf(address);
  const redis = openRedis(address, OPTIONS);
  const reasons: Error[] = [];
  const sentinelReasons: Error[] = [];
  redis.on('error', (error: Error) => reasons.push(error));
  redis.on('sentinelError', (error: Error) => sentinelReasons.push(error));
  try {
    await unlessAborted(redis.connect(), signal);
    const info = await redis.info();
    if (/cluster_enabled:1/.test(info)) {
      throw new StartError(`Redis at ${name} is part of a Cluster; say redis+cluster:// in its URL.`);
    }
    return { name, info };
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof StartError) throw error;
    const reason = reasons[0] ?? error;
    throw unusable(
      name,
      'sentinels' in address
        ? await explainSentinels(address, reason, sentinelReasons)
        : explainRedis(reason, 'url' in address && address.tls !== undefined),
    );
  } finally {
    redis.disconnect();
  }
}

async function askCluster(address: ClusterAddress, signal: AbortSignal | undefined): Promise<Master[]> {
  const name = nameOf(address);
  const cluster = openCluster(address, OPTIONS);
  const reasons: [string, Error][] = [];
  cluster.on('node error', (error: Error, at: string) => reasons.push([at, error]));
  cluster.on('error', () => {});
  try {
    await unlessAborted(untilConnected(cluster), signal);
    const state = await cluster.cluster('INFO');
    if (!state.includes(`cluster_slots_assigned:${ALL_SLOTS}`)) {
      throw new StartError(`Redis at ${name} has slots that no master serves; see CLUSTER INFO.`);
    }
    if (!state.includes('cluster_state:ok')) {
      throw new StartError(`Redis at ${name} is a Cluster that is down; see CLUSTER INFO and CLUSTER NODES.`);
    }
    return await Promise.all(
      cluster.nodes('master').map(async (node) => ({
        name: `${node.options.host}:${node.options.port}`,
        info: await node.info(),
      })),
    );
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof StartError) throw error;
    const isTls = address.tls !== undefined;
    const [at, reason] = reasons.find(([, { message }]) => message !== CLOSED) ?? [];
    throw unusable(
      name,
      reason ? `${at}: ${explainRedis(reason, isTls)}` : await explainNodes(address, error),
    );
  } finally {
    cluster.disconnect();
  }
}

function mustBeUsable({ name, info }: Master): void {
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
}

/** A replica that isn't waited for may be elected without what it lacks; one that isn't there keeps posts from being accepted. */
function countReplicas({ name, info }: Master, wanted: number, log: Pick<Log, 'warn'>): void {
  const there = Number(/connected_slaves:(\d+)/.exec(info)?.[1] ?? 0);
  if (there < wanted) {
    log.warn(
      { redis: name, there, wanted },
      'fewer replicas than REPLICAS; posts are unsure until they are there',
    );
  } else if (there > wanted) {
    log.warn(
      { redis: name, there, wanted },
      'more replicas than REPLICAS; a failover may elect one that lacks posts',
    );
  }
}

async function untilConnected(cluster: Cluster): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('timeout')), CONNECTED_WITHIN_MS);
  });
  try {
    await Promise.race([cluster.connect(), late]);
  } finally {
    clearTimeout(timer);
  }
}

async function explainSentinels(
  address: SentinelAddress,
  reason: unknown,
  sentinelReasons: readonly Error[],
): Promise<string> {
  const isTls = address.tls !== undefined;
  if (!(reason as Error).message.startsWith('All sentinels are unreachable'))
    return `its master: ${explainRedis(reason, isTls)}`;
  if (sentinelReasons.some(({ message }) => /invalid reply: null$|No such master/.test(message)))
    return 'the Sentinels know no master of that name.';
  const { sentinels, sentinelUsername: username, sentinelPassword: password, tls } = address;
  const access = { username, password, tls };
  const faults = await faultsOf(sentinels, access, OF_SENTINELS);
  return faults ?? explainRedis(reason, isTls);
}

async function explainNodes(address: ClusterAddress, error: unknown): Promise<string> {
  return (await faultsOf(address.cluster, address)) ?? explainRedis(error, address.tls !== undefined);
}

function unusable(name: string, reason: string): StartError {
  return new StartError(`Redis at ${name} can’t be used: ${reason}`);
}
