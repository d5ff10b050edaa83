import { Cluster, type RedisOptions as LibraryOptions, Redis } from 'ioredis';
import { jittered } from './jitter.ts';
import type { Access, ClusterAddress, Endpoint, RedisAddress } from './redis-address.ts';

/** ioredis' options, but for the one that its class' type depends on. */
export type RedisOptions = Omit<LibraryOptions, 'replyMapping'>;

const MAX_RECONNECT_DELAY_MS = 1000;
/** Of several machines one may be silent; the next is then asked. */
const CONNECT_TIMEOUT_MS = 2000;
/** An answer that is overdue for so long comes no more: the connection is given up, and the Sentinels are asked. */
const SILENT_MS = 5000;
/** Slots are asked for anew so often: a node that fell silent is thereby left, since it answers no MOVED. */
const SLOTS_REFRESH_MS = 5000;
/** Each follows an answer that says the command wasn't executed; a slot may move again meanwhile. */
const MAX_REDIRECTIONS = 5;

/** Of one that is loading its data: it says how long that will take, and may be wrong. */
const MAX_LOADING_CHECK_MS = 1000;

const reconnectDelay = (attempt: number) =>
  jittered(Math.min(MAX_RECONNECT_DELAY_MS, 50 * 2 ** attempt), 0, 1) + 20;

/**
 * No command waits in a queue for Redis to come back, and none is sent a second time by the client library: whoever
 * asked hears at once that it failed, and whether it was sent.
 */
const FAIL_FAST = {
  enableOfflineQueue: false,
  autoResendUnfulfilledCommands: false,
  maxRetriesPerRequest: 0,
  maxLoadingRetryTime: MAX_LOADING_CHECK_MS,
  protocol: 2,
  retryStrategy: reconnectDelay,
} satisfies RedisOptions;

/** One try, whose failure is the caller's to tell. */
export const ONCE: RedisOptions = {
  lazyConnect: true,
  retryStrategy: () => null,
  sentinelRetryStrategy: () => null,
};

/**
 * Sentinels whose word of a failover comes while the client connects make the library end that for good (ioredis 6.0,
 * SentinelConnector: "Connection is closed."). Nobody asked for the end, so it connects again.
 */
class LastingRedis extends Redis {
  #isWanted = true;

  constructor(options: RedisOptions) {
    super(options);
    this.on('end', () => {
      if (this.#isWanted) this.connect().catch(() => {});
    });
  }

  override disconnect(reconnect = false): void {
    if (!reconnect) this.#isWanted = false;
    super.disconnect(reconnect);
  }
}

/** A connection to one server, or to the master that Sentinels name, wherever that goes. */
export function openRedis(address: Exclude<RedisAddress, ClusterAddress>, options: RedisOptions): Redis {
  if ('url' in address)
    return new Redis(address.url, { ...FAIL_FAST, ...defined({ tls: address.tls }), ...options });
  if ('path' in address) return new Redis(address.path, { ...FAIL_FAST, ...options });
  const { sentinels, master, db, tls } = address;
  const Client = options.lazyConnect ? Redis : LastingRedis;
  return new Client({
    ...FAIL_FAST,
    connectTimeout: CONNECT_TIMEOUT_MS,
    sentinelCommandTimeout: CONNECT_TIMEOUT_MS,
    sentinels: sentinels.map((endpoint) => ({ ...endpoint })),
    name: master,
    role: 'master',
    db,
    ...defined({
      username: address.username,
      password: address.password,
      sentinelUsername: address.sentinelUsername,
      sentinelPassword: address.sentinelPassword,
    }),
    ...(tls && { tls, sentinelTLS: tls, enableTLSForSentinelMode: true }),
    sentinelRetryStrategy: reconnectDelay,
    // A master that fell silent, or that the Sentinels have replaced but not yet demoted, closes nothing: their word does.
    failoverDetector: !options.lazyConnect,
    socketTimeout: SILENT_MS,
    // One that was a master until now has refused to write, and executed nothing: the new one is looked for.
    reconnectOnError: ({ message }) => message.startsWith('READONLY'),
    ...options,
  });
}

/** Connections to all nodes of a Cluster, so that after a failover none has still to be made. */
export function openCluster(
  address: ClusterAddress,
  { lazyConnect, enableAutoPipelining = false, commandTimeout, socketTimeout, connectionName }: RedisOptions,
): Cluster {
  const isOnce = lazyConnect === true;
  const cluster = new Cluster(
    address.cluster.map((endpoint) => ({ ...endpoint })),
    {
      lazyConnect: isOnce,
      enableOfflineQueue: false,
      // Who looks once looks for itself: for one that isn't whole the library's check would wait for ever.
      enableReadyCheck: !isOnce,
      enableAutoPipelining,
      scaleReads: 'master',
      clusterRetryStrategy: isOnce ? () => null : reconnectDelay,
      maxRedirections: MAX_REDIRECTIONS,
      // After a closed connection nobody knows what was executed, and in a Cluster that is down nothing is: who asked says it again.
      retryDelayOnFailover: 0,
      retryDelayOnClusterDown: 0,
      slotsRefreshInterval: SLOTS_REFRESH_MS,
      slotsRefreshTimeout: CONNECT_TIMEOUT_MS,
      // Each connection resolves its host's name itself, so that a certificate is compared with the name.
      dnsLookup: (host, told) => told(null, host),
      // A node's connection isn't tried again by itself (the library's default): the slots' refresh knows who is there.
      redisOptions: {
        autoResendUnfulfilledCommands: false,
        maxRetriesPerRequest: 0,
        protocol: 2,
        connectTimeout: CONNECT_TIMEOUT_MS,
        ...defined({
          commandTimeout,
          socketTimeout,
          connectionName,
          username: address.username,
          password: address.password,
          tls: address.tls,
        }),
      },
    },
  );
  if (isOnce) return cluster;
  // The library would connect with the first command, and hold that back until then. Before the Cluster is ready that
  // is wanted: to a node that is connecting the library sends no CLUSTER INFO, and without that nothing is ever ready.
  const connectNode = (node: Redis) => {
    if (node.status === 'wait') node.connect().catch(() => {});
  };
  cluster.on('ready', () => cluster.nodes().forEach(connectNode));
  cluster.on('+node', (node: Redis) => {
    if (cluster.status === 'ready') connectNode(node);
  });
  return cluster;
}

/** A connection to this one server, be it a Sentinel or a node of a Cluster. */
export function openEndpoint(endpoint: Endpoint, access: Access, options: RedisOptions): Redis {
  const { username, password, tls } = access;
  return new Redis({
    ...FAIL_FAST,
    ...endpoint,
    connectTimeout: CONNECT_TIMEOUT_MS,
    ...defined({ username, password, tls }),
    // A Sentinel isn't asked what it holds.
    enableReadyCheck: false,
    ...options,
  });
}

function defined<T extends object>(options: T): { [K in keyof T]?: NonNullable<T[K]> } {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as never;
}
