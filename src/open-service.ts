import { RedisStore } from 'connect-redis';
import type { Router } from 'express';
import session from 'express-session';
import { createRouter } from './app.ts';
import { MAIN_SITE, siteOf } from './chat/rooms.ts';
import type { Config } from './config.ts';
import { Delivery } from './delivery/delivery.ts';
import {
  type Authority,
  HostAuthority,
  SESSION_COOKIE,
  SessionAuthority,
  type UserHook,
  userKeyOf,
} from './http/authority.ts';
import { ProbePlaces } from './http/doctor-places.ts';
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
import { StartError } from './log/start-error.ts';
import { Sweeper } from './log/sweeper.ts';
import { Tail } from './log/tail.ts';
import { refusalOf } from './log/unreachable.ts';
import { type OpenMetrics, openMetrics } from './metrics/open-metrics.ts';
import type { Samples } from './metrics/samples.ts';
import type { ReadMetrics } from './metrics/tell-metrics.ts';

/** A service that runs, without a server of its own. */
export interface OpenService {
  readonly router: Router;
  /** For a server's `upgrade` event. */
  readonly upgrade: TakeUpgrade;
  readonly delivery: Delivery;
  /** Where the metrics are scraped, if they have a port of their own. */
  readonly metricsUrl: string | undefined;
  /** This process' own metrics, also after `close`; undefined where nobody wants them. */
  readonly readOwnMetrics: (() => Promise<Samples>) | undefined;
  /** Ends all readers, with `bye`. */
  endReaders(): void;
  /** Stops the tail and leaves Redis (and stops it, if it is our own). */
  close(): Promise<void>;
}

interface OpenOptions {
  readonly user?: UserHook | undefined;
  /** Gives up the start, which takes minutes where a private Redis has gigabytes to load. */
  readonly signal?: AbortSignal | undefined;
  /** This process is a worker: reads the metrics of all of them. */
  readonly readAllMetrics?: ReadMetrics | undefined;
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
  { user, signal, readAllMetrics }: OpenOptions = {},
): Promise<OpenService> {
  const embedded =
    config.redisUrl === undefined
      ? await startEmbeddedRedis({ dataDir: config.dataDir, log, signal })
      : undefined;
  const address = embedded ? { path: embedded.socketPath } : addressOf(config.redisUrl as string);
  try {
    return await compose(config, log, { user, readAllMetrics }, address, async () => embedded?.close());
  } catch (error) {
    await embedded?.close();
    throw error;
  }
}

async function compose(
  config: Config,
  log: Log,
  { user, readAllMetrics }: Pick<OpenOptions, 'user' | 'readAllMetrics'>,
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
    const openLobby = () => rooms.open(MAIN_SITE);
    const history = new LogReader(reads, keys);
    const delivery = new Delivery(history, config, {
      refilled: (reason) => {
        presence.forgetAll();
        if (reason !== 'rollback') return;
        openLobby().catch((error) =>
          log.error({ err: withoutCommand(error) }, 'the lobby couldn’t be opened again'),
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
    const store = new RedisStore({
      client: commands,
      prefix: keys.sessionPrefix,
      ttl: Math.ceil(config.sessionTtlMs / 1000),
    });
    const authority: Authority = user
      ? new HostAuthority(user)
      : new SessionAuthority(store, secret, config.sessionTtlMs, names, rooms);
    delivery.heardSessionEnd = (address) => authority.forget(address);
    const logInSession = session({
      name: SESSION_COOKIE,
      secret,
      store,
      resave: false,
      saveUninitialized: false,
      cookie: { httpOnly: true, sameSite: 'lax', secure: 'auto', path: config.basePath || '/' },
    });
    const probes = new ProbePlaces(MAX_PROBES);
    const service: Service = {
      config,
      log,
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
      logInSession: user
        ? undefined
        : (req, res, next) =>
            logInSession(req, res, (error?: unknown) => next(error && refusalOf(error, 'unsent'))),
      isReady: async () =>
        tail.isReading(READY_WITHIN_MS) && (await answers(() => commands.exists(keys.epoch))),
    };
    const { doctorCounts } = service;
    metrics = await openMetrics(
      config,
      { delivery, tail, presence, authority, redis: commands, keys, doctorCounts },
      log,
      readAllMetrics,
    );
    await openLobby();
    await tail.start();
    sweeper.start();

    let closing: Promise<void> | undefined;
    return {
      router: createRouter(service, metrics?.tell),
      upgrade: takeUpgrades(service),
      delivery,
      metricsUrl: metrics?.url,
      readOwnMetrics: metrics?.samples,
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
