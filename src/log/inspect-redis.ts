import type { Log } from './logger.ts';
import { ONCE, openCluster, openRedis, type RedisOptions } from './open-redis.ts';
import { type ClusterAddress, nameOf, type RedisAddress } from './redis-address.ts';
import { StartError } from './start-error.ts';

const OLDEST_VERSION = [6, 2] as const;
const ALL_SLOTS = 16384;
const ANSWER_WITHIN_MS = 5000;
const OPTIONS: RedisOptions = { ...ONCE, commandTimeout: ANSWER_WITHIN_MS };

/** A master, and what it says of itself. */
interface Master {
  readonly name: string;
  readonly info: string;
}

/** Asks each master what it is, and turns whatever is wrong into one sentence: a StartError. */
export async function inspectRedis(
  address: RedisAddress,
  log: Pick<Log, 'warn'>,
  replicas: number | undefined,
): Promise<void> {
  const masters = 'cluster' in address ? await askCluster(address) : [await askServer(address)];
  for (const master of masters) {
    mustBeUsable(master);
    if (replicas !== undefined) countReplicas(master, replicas, log);
  }
}

async function askServer(address: Exclude<RedisAddress, ClusterAddress>): Promise<Master> {
  const name = nameOf(address);
  const redis = openRedis(address, OPTIONS);
  const reasons: Error[] = [];
  redis.on('error', (error: Error) => reasons.push(error));
  redis.on('sentinelError', (error: Error) => reasons.push(error));
  try {
    await redis.connect();
    const info = await redis.info();
    if (/cluster_enabled:1/.test(info)) {
      throw new StartError(`Redis at ${name} is part of a Cluster; say redis+cluster:// in its URL.`);
    }
    return { name, info };
  } catch (error) {
    throw unusable(name, reasons[0] ?? error);
  } finally {
    redis.disconnect();
  }
}

async function askCluster(address: ClusterAddress): Promise<Master[]> {
  const name = nameOf(address);
  const cluster = openCluster(address, OPTIONS);
  const reasons: Error[] = [];
  cluster.on('node error', (error: Error) => reasons.push(error));
  cluster.on('error', () => {});
  try {
    await cluster.connect();
    const state = await cluster.cluster('INFO');
    if (!state.includes(`cluster_slots_assigned:${ALL_SLOTS}`)) {
      throw new StartError(`Redis at ${name} has slots that no master serves; see CLUSTER INFO.`);
    }
    return await Promise.all(
      cluster.nodes('master').map(async (node) => ({
        name: `${node.options.host}:${node.options.port}`,
        info: await node.info(),
      })),
    );
  } catch (error) {
    throw unusable(name, reasons[0] ?? error);
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

function unusable(name: string, error: unknown): StartError {
  if (error instanceof StartError) return error;
  return new StartError(`Redis at ${name} can’t be used: ${explain(error)}`);
}

function explain(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (/WRONGPASS|NOAUTH|invalid password|without any password/i.test(message))
    return `it refused the log-in (${message}).`;
  if (/cluster support disabled/.test(message)) return 'it is no Cluster; say redis:// in its URL.';
  if (/invalid reply: null|No such master/.test(message)) return 'the Sentinels know no master of that name.';
  if (code === 'ECONNREFUSED') return 'nothing listens there.';
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return 'there is no host of that name.';
  return `${message.replace(/\.$/, '')}.`;
}
