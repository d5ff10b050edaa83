import { RedisStore } from 'connect-redis';
import type { Router } from 'express';
import { createRouter } from './app.ts';
import { MAIN_SITE, type SiteName } from './chat/sites.ts';
import type { Config } from './config.ts';
import { newCounts } from './delivery/counts.ts';
import type { CreateServer } from './http/app-server.ts';
import type { Authority } from './http/authority.ts';
import { ProbePlaces } from './http/doctor-places.ts';
import { HostAuthority, type UserHook } from './http/host-authority.ts';
import { logInSessions } from './http/log-in-sessions.ts';
import type { OpenConnections } from './http/open-connections.ts';
import { revokeUser } from './http/revoke-user.ts';
import type { Service } from './http/service.ts';
import { SessionAuthority } from './http/session-authority.ts';
import { SiteWatch } from './http/site-watch.ts';
import { type TakeUpgrade, takeUpgrades } from './http/socket.ts';
import { JwtVerifier } from './http/verify-jwt.ts';
import { ApiKeys } from './log/api-keys.ts';
import { connect } from './log/connections.ts';
import { DoctorCounts } from './log/doctor-counts.ts';
import { startEmbeddedRedis } from './log/embedded-redis.ts';
import { Keys } from './log/keys.ts';
import { Leases } from './log/leases.ts';
import { type Log, withoutCommand } from './log/logger.ts';
import { Pace } from './log/pace.ts';
import { parseRedisAddress, type RedisAddress } from './log/redis-address.ts';
import type { RedisClient } from './log/redis-client.ts';
import { readRedisTls } from './log/redis-tls.ts';
import { sharedSecret } from './log/secret.ts';
import { keepShards, shardIndexOf, tagsOf } from './log/shards.ts';
import { SiteBook } from './log/site-book.ts';
import { StartError } from './log/start-error.ts';
import { type OpenMetrics, openMetrics } from './metrics/open-metrics.ts';
import type { Samples } from './metrics/samples.ts';
import type { ReadMetrics } from './metrics/tell-metrics.ts';
import { type OpenShard, openShard } from './open-shard.ts';
import { warmUp } from './warm-up/warm-up.ts';
import { Webhooks } from './webhooks/webhooks.ts';

/** A service that runs, without a server of its own. */
export interface OpenService {
  readonly router: Router;
  /** For a server's `upgrade` event. */
  readonly upgrade: TakeUpgrade;
  /** How many readers it has now. */
  readonly readers: number;
  /** Where the metrics are scraped, if they have a port of their own. */
  readonly metricsUrl: string | undefined;
  /** This process' own metrics, also after `close`; undefined where nobody wants them. */
  readonly readOwnMetrics: (() => Promise<Samples>) | undefined;
  /**
   * Ends everything that a user of a site has open, on every process. `atS`: when it is by the host's clock, in seconds since
   * 1970. Refusals: `unavailable`, `unsure`.
   */
  revoke(site: SiteName, userId: string, atS?: number): Promise<void>;
  /**
   * Warms this process up by servers of the application that will serve, which `use` gives another router for it. For guests and the
   * service's own sessions, not for a host application's log-in. Resolves in any case, within 5 s or soon after the signal aborts.
   */
  warmUp(createServer: CreateServer, use: (router: Router) => void, signal?: AbortSignal): Promise<void>;
  /** Ends all readers, with `bye`. */
  endReaders(): void;
  /** Stops the tails and leaves Redis (and stops it, if it is our own). */
  close(): Promise<void>;
}

/** An application's own log-in, and the site that all its users belong to. */
export interface Host {
  readonly user: UserHook;
  readonly site: SiteName;
}

interface OpenOptions {
  readonly host?: Host | undefined;
  /** Gives up the start, which takes minutes where Redis has gigabytes to load. */
  readonly signal?: AbortSignal | undefined;
  /** This process is a worker: reads the metrics of all of them. */
  readonly readAllMetrics?: ReadMetrics | undefined;
  /** Those of the server, where that is our own. */
  readonly connections?: OpenConnections | undefined;
}

const READY_WITHIN_MS = 3000;
/** Of one user. Whoever opens all the rooms that one stream can follow comes to 50 at once. */
const COMINGS_AND_GOINGS = { burst: 150, perSecond: 1 };
/** Of the doctor, whom anybody may call; one browser takes up to six for half a minute. */
const MAX_PROBES = 200;

/** Puts the service together over Redis: the configured one, or one of its own. Throws a StartError. */
export async function openService(
  config: Config,
  log: Log,
  { host, signal, readAllMetrics, connections }: OpenOptions = {},
): Promise<OpenService> {
  const embedded =
    config.redisUrl === undefined
      ? await startEmbeddedRedis({ dataDir: config.dataDir, log, signal })
      : undefined;
  const address = embedded ? { path: embedded.socketPath } : addressOf(config.redisUrl as string, config);
  try {
    return await compose(config, log, { host, signal, readAllMetrics, connections }, address, async () =>
      embedded?.close(),
    );
  } catch (error) {
    await embedded?.close();
    throw error;
  }
}

async function compose(
  config: Config,
  log: Log,
  { host, signal, readAllMetrics, connections: ownConnections }: OpenOptions,
  address: RedisAddress,
  closeRedis: () => Promise<void>,
): Promise<OpenService> {
  const connections = await connect(address, log, {
    replicas: config.durability === 'replica' ? config.replicas : undefined,
    shards: config.shards,
    signal,
  });
  const { commands, tails } = connections;
  let metrics: OpenMetrics | undefined;
  try {
    const keys = new Keys(config.namespace);
    await keepShards(commands, keys, config.shards);
    const counts = newCounts();
    const presencePace = new Pace(commands, keys.presencePacePrefix, COMINGS_AND_GOINGS);
    const shards = tagsOf(config.shards).map((tag, i) =>
      openShard(
        {
          connections,
          tail: tails[i] as RedisClient,
          keys: new Keys(config.namespace, tag),
          counts,
          presencePace,
          log,
        },
        config,
        {
          wentBack: () => {
            Promise.all([commands.set(keys.shards, config.shards, 'NX'), sites.reopen()]).catch((error) =>
              log.error({ err: withoutCommand(error) }, 'the lobbies couldn’t be opened again'),
            );
          },
          heard: () => webhooks.wake(),
          sessionEnded: (address) => authority.forget(address),
        },
      ),
    );
    const shardOf = (site: SiteName) => shards[shardIndexOf(site, shards.length)] as OpenShard;
    const webhooks = new Webhooks(
      {
        commands,
        open: () => connections.openAnother('webhooks'),
        keys,
        keysOf: (site) => shardOf(site).keys,
        log,
      },
      config,
    );
    const sites = new SiteBook(commands, keys, (site) => shardOf(site).rooms.open(site));

    const secret = config.sessionSecret ?? (await sharedSecret(commands, keys));
    const openStore = () =>
      new RedisStore({
        client: commands,
        prefix: keys.sessionPrefix,
        ttl: Math.ceil(config.sessionTtlMs / 1000),
      });
    const bearers = host
      ? undefined
      : new SessionAuthority(openStore(), secret, config.sessionTtlMs, sites, shardOf);
    const authority: Authority = host
      ? new HostAuthority(host.user, host.site, sites)
      : (bearers as SessionAuthority);
    const siteWatch = new SiteWatch(sites, shardOf);
    const probes = new ProbePlaces(MAX_PROBES);
    const service: Service = {
      config,
      log,
      sites,
      connections: ownConnections,
      shardOf,
      leases: new Leases(commands, keys, config.leaseMs),
      apiKeys: new ApiKeys(commands, keys),
      apiKeyPace: new Pace(commands, keys.keyPacePrefix, {
        burst: config.apiKeyBurst,
        perSecond: config.apiKeyRequestsPerSecond,
      }),
      presencePace,
      pace: new Pace(commands, keys.pacePrefix, {
        burst: config.postBurst,
        perSecond: config.postsPerSecond,
      }),
      counts,
      authority,
      bearers,
      jwts: new JwtVerifier(),
      siteWatch,
      probes,
      doctorCounts: new DoctorCounts(commands, keys),
      logInSession: host
        ? undefined
        : logInSessions(authority, sites, { secret, openStore, cookiePath: config.basePath || '/' }),
      isReady: async () =>
        shards.every(({ tail }) => tail.isReading(READY_WITHIN_MS)) &&
        (await answers(() => Promise.all(shards.map(({ keys }) => commands.exists(keys.epoch))))),
    };
    const { doctorCounts } = service;
    metrics = await openMetrics(
      config,
      { shards, counts, authority, webhooks, redis: commands, doctorCounts },
      log,
      readAllMetrics,
    );
    if (host && host.site !== MAIN_SITE) await sites.putNew(host.site);
    await sites.get(MAIN_SITE);
    const stop = () => Promise.all([webhooks.stop(), ...shards.map((shard) => shard.stop())]);
    try {
      await Promise.all(shards.map((shard) => shard.start()));
      webhooks.start();
    } catch (error) {
      await stop();
      throw error;
    }

    siteWatch.start();
    let closing: Promise<void> | undefined;
    return {
      router: createRouter(service, metrics?.tell),
      upgrade: takeUpgrades(service),
      get readers() {
        return shards.reduce((sum, { delivery }) => sum + delivery.hub.size, 0);
      },
      metricsUrl: metrics?.url,
      readOwnMetrics: metrics?.samples,
      revoke: async (site, userId, atS) => void (await revokeUser(service, site, userId, atS)),
      warmUp: (createServer, use, signal) =>
        warmUp({ service, shard: shardOf(MAIN_SITE), config, commands }, createServer, use, signal),
      endReaders: () => {
        for (const { delivery } of shards) delivery.endEveryone('shutting_down', config.byeSpreadMs);
        probes.endAll();
      },
      close: () => {
        metrics?.close();
        siteWatch.stop();
        closing ??= stop().then(async () => {
          connections.close();
          await closeRedis();
        });
        return closing;
      },
    };
  } catch (error) {
    metrics?.close();
    connections.close();
    throw error;
  }
}

/** Besides what the setting takes, an embedding application may give the path of a Unix socket. */
function addressOf(redisUrl: string, config: Config): RedisAddress {
  if (!redisUrl.includes('://')) return { path: redisUrl };
  const tls = readRedisTls(config);
  try {
    return parseRedisAddress(redisUrl, tls);
  } catch (error) {
    throw new StartError(`redisUrl must be ${(error as Error).message}.`);
  }
}

async function answers(ask: () => Promise<unknown>): Promise<boolean> {
  try {
    await ask();
    return true;
  } catch {
    return false;
  }
}
