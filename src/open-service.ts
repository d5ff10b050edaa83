import { RedisStore } from 'connect-redis';
import type { Router } from 'express';
import { createRouter } from './app.ts';
import { siteOf } from './chat/rooms.ts';
import { MAIN_SITE, type SiteName } from './chat/sites.ts';
import type { Config } from './config.ts';
import { Delivery } from './delivery/delivery.ts';
import {
  type Authority,
  HostAuthority,
  SessionAuthority,
  type UserHook,
  userKeyOf,
} from './http/authority.ts';
import { ProbePlaces } from './http/doctor-places.ts';
import { logInSessions } from './http/log-in-sessions.ts';
import type { Service } from './http/service.ts';
import { type TakeUpgrade, takeUpgrades } from './http/socket.ts';
import { Appender } from './log/append.ts';
import { connect } from './log/connections.ts';
import { DoctorCounts } from './log/doctor-counts.ts';
import { startEmbeddedRedis } from './log/embedded-redis.ts';
import { Keys } from './log/keys.ts';
import { Leases } from './log/leases.ts';
import { type Log, withoutCommand } from './log/logger.ts';
import { Names } from './log/names.ts';
import { Pace } from './log/pace.ts';
import { Presence } from './log/presence.ts';
import { LogReader } from './log/read.ts';
import { parseRedisAddress, type RedisAddress } from './log/redis-address.ts';
import { ReplicaWriter } from './log/replicated.ts';
import { RoomBook } from './log/room-book.ts';
import { sharedSecret } from './log/secret.ts';
import { SiteBook } from './log/site-book.ts';
import { StartError } from './log/start-error.ts';
import { Sweeper } from './log/sweeper.ts';
import { Tail } from './log/tail.ts';
import { type OpenMetrics, openMetrics } from './metrics/open-metrics.ts';

/** A service that runs, without a server of its own. */
export interface OpenService {
  readonly router: Router;
  /** For a server's `upgrade` event. */
  readonly upgrade: TakeUpgrade;
  readonly delivery: Delivery;
  /** Where the metrics are scraped, if they have a port of their own. */
  readonly metricsUrl: string | undefined;
  /** Ends all readers, with `bye`. */
  endReaders(): void;
  /** Stops the tail and leaves Redis (and stops it, if it is our own). */
  close(): Promise<void>;
}

/** An application's own log-in, and the site that all its users belong to. */
export interface Host {
  readonly user: UserHook;
  readonly site: SiteName;
}

interface OpenOptions {
  readonly host?: Host | undefined;
  /** Gives up the start, which takes minutes where a private Redis has gigabytes to load. */
  readonly signal?: AbortSignal | undefined;
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
  { host, signal }: OpenOptions = {},
): Promise<OpenService> {
  const embedded =
    config.redisUrl === undefined
      ? await startEmbeddedRedis({ dataDir: config.dataDir, log, signal })
      : undefined;
  const address = embedded ? { path: embedded.socketPath } : addressOf(config.redisUrl as string);
  try {
    return await compose(config, log, host, address, async () => embedded?.close());
  } catch (error) {
    await embedded?.close();
    throw error;
  }
}

async function compose(
  config: Config,
  log: Log,
  host: Host | undefined,
  address: RedisAddress,
  closeRedis: () => Promise<void>,
): Promise<OpenService> {
  const connections = await connect(address, log, {
    replicas: config.durability === 'replica' ? config.replicas : undefined,
  });
  const { commands, reads, replicated } = connections;
  let metrics: OpenMetrics | undefined;
  try {
    const keys = new Keys(config.namespace);
    const names = new Names(commands, keys, config.sessionTtlMs);
    const rooms = new RoomBook(commands, keys, config.maxRooms);
    const presencePace = new Pace(commands, keys.presencePacePrefix, COMINGS_AND_GOINGS);
    const presence = new Presence(commands, keys, presencePace, config);
    const sites = new SiteBook(commands, keys, (site) => rooms.open(site));
    const history = new LogReader(reads, keys);
    const delivery = new Delivery(history, config, {
      refilled: (reason) => {
        presence.forgetAll();
        if (reason !== 'rollback') return;
        sites
          .reopen()
          .catch((error) =>
            log.error({ err: withoutCommand(error) }, 'the lobbies couldn’t be opened again'),
          );
      },
      failed: (error) => log.error({ err: withoutCommand(error) }, 'telling a reader failed; it was ended'),
    });
    const tail = new Tail(connections.tail, keys, log, config, delivery);
    delivery.suspectRollback = () => tail.suspect();
    delivery.heardPresence = (room, user, isHere) => {
      if (!isHere) presence.forget(room, userKeyOf(siteOf(room), user));
    };
    const sweeper = new Sweeper(commands, presence, log, config.leaseMs / 2);

    const secret = config.sessionSecret ?? (await sharedSecret(commands, keys));
    const openStore = () =>
      new RedisStore({
        client: commands,
        prefix: keys.sessionPrefix,
        ttl: Math.ceil(config.sessionTtlMs / 1000),
      });
    const authority: Authority = host
      ? new HostAuthority(host.user, host.site)
      : new SessionAuthority(openStore(), secret, config.sessionTtlMs, names, rooms, sites);
    delivery.heardSessionEnd = (address) => authority.forget(address);
    const probes = new ProbePlaces(MAX_PROBES);
    const service: Service = {
      config,
      log,
      sites,
      appender: new Appender(commands, keys, config, replicated && new ReplicaWriter(replicated, config)),
      history,
      rooms,
      names,
      leases: new Leases(commands, keys, config.leaseMs),
      presence,
      presencePace,
      pace: new Pace(commands, keys.pacePrefix, {
        burst: config.postBurst,
        perSecond: config.postsPerSecond,
      }),
      delivery,
      authority,
      probes,
      doctorCounts: new DoctorCounts(commands, keys),
      logInSession: host
        ? undefined
        : logInSessions(authority, sites, { secret, openStore, cookiePath: config.basePath || '/' }),
      isReady: async () =>
        tail.isReading(READY_WITHIN_MS) && (await answers(() => commands.exists(keys.epoch))),
    };
    const { doctorCounts } = service;
    metrics = await openMetrics(
      config,
      { delivery, tail, presence, authority, redis: commands, keys, doctorCounts },
      log,
    );
    if (host && host.site !== MAIN_SITE) await sites.putNew(host.site);
    await sites.get(MAIN_SITE);
    await tail.start();
    sweeper.start();

    let closing: Promise<void> | undefined;
    return {
      router: createRouter(service, metrics?.tell),
      upgrade: takeUpgrades(service),
      delivery,
      metricsUrl: metrics?.url,
      endReaders: () => {
        delivery.endEveryone('shutting_down', config.byeSpreadMs);
        probes.endAll();
      },
      close: () => {
        metrics?.close();
        closing ??= Promise.all([tail.stop(), sweeper.stop()]).then(async () => {
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
function addressOf(redisUrl: string): RedisAddress {
  if (!redisUrl.includes('://')) return { path: redisUrl };
  try {
    return parseRedisAddress(redisUrl);
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
