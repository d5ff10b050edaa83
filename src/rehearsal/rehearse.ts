import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { sign } from 'cookie-signature';
import { type Express, Router } from 'express';
import session, { type SessionData, type Store } from 'express-session';
import { createRouter } from '../app.ts';
import { ZERO_ID } from '../chat/ids.ts';
import { MAIN_SITE } from '../chat/sites.ts';
import type { User } from '../chat/users.ts';
import type { Config } from '../config.ts';
import { newCounts } from '../delivery/counts.ts';
import { Delivery } from '../delivery/delivery.ts';
import { createAppServer } from '../http/app-server.ts';
import { cookieNameOf, type StoredSession } from '../http/authority.ts';
import { OpenConnections } from '../http/open-connections.ts';
import type { Service } from '../http/service.ts';
import { SessionAuthority } from '../http/session-authority.ts';
import { SiteWatch } from '../http/site-watch.ts';
import { Appender } from '../log/append.ts';
import { newEpoch } from '../log/epoch.ts';
import { openLogToNowhere, withoutCommand } from '../log/logger.ts';
import type { RedisClient } from '../log/redis-client.ts';
import type { OpenShard } from '../open-shard.ts';
import { MemoryWriter } from './memory-writer.ts';
import { Troupe } from './troupe.ts';

const PLAYS = 2;
const READERS = 40;
const POSTERS = 4;
/** Enough for all that they say, whatever the service's own is. */
const WINDOW = { windowEntries: 1000, windowBytes: 1_000_000 };
/** After so long the troupe leaves, whether it is done or not. */
const MOST_MS = 2000;
/** By this header requests of ours are told from those of whoever else finds the port. */
const PASS = 'x-rehearsal';

/** What is rehearsed with: a service that runs, and what it is made of. */
interface Cast {
  readonly service: Service;
  /** That of the main site. */
  readonly shard: OpenShard;
  readonly config: Config;
  readonly commands: RedisClient;
}

/**
 * Serves some readers and posters of its own, over loopback, before anybody else comes: they come, are told, leave, miss something, and
 * come back. V8 compiles for what it has seen. What it has compiled while thousands came for the first time it throws away when the first
 * message is posted, when the first of them leaves, when the first comes back, and compiles it again while all of them wait; what has
 * seen each of these before it is compiled serves them all.
 *
 * The sessions, the journal and the readers are in memory, and gone afterwards: nothing is kept in Redis, and nobody hears of it. It is
 * done by the application that will serve, for whose requests and responses V8 has learned it then; `use` gives that another router. A
 * rehearsal that fails is logged, and holds up no start.
 */
export async function rehearse(cast: Cast, app: Express, use: (router: Router) => void): Promise<void> {
  const startedAt = performance.now();
  const { log } = cast.service;
  try {
    await perform(cast, app, use);
    log.debug({ ms: Math.round(performance.now() - startedAt) }, 'rehearsed');
  } catch (error) {
    log.warn(
      { err: withoutCommand(error) },
      'the rehearsal failed; those who come first are served more slowly',
    );
  }
}

async function perform(cast: Cast, app: Express, use: (router: Router) => void): Promise<void> {
  const { service, config } = cast;
  const { guests } = await service.sites.mustGet(MAIN_SITE);
  const store = new session.MemoryStore();
  const secret = randomUUID();
  const pass = randomUUID();
  const connections = new OpenConnections();
  const router = Router();
  router.use((req, _res, next) => {
    if (req.get(PASS) === pass) next();
    else req.socket.destroy();
  });
  router.use(createRouter(serviceInMemory(cast, store, secret, connections)));
  use(router);
  const server = createAppServer(app);
  connections.attend(server);
  // A worker's would be shared with the others.
  server.listen({ port: 0, host: '127.0.0.1', exclusive: true });
  try {
    await once(server, 'listening');
    // Posts renew the session, and a guest's name with it, which would be written; of a known user there is nothing to renew.
    const logIns = (isGuest: boolean, count: number) =>
      Promise.all(Array.from({ length: count }, () => logIn(store, secret, config.sessionTtlMs, isGuest)));
    const troupe = new Troupe(
      {
        port: (server.address() as AddressInfo).port,
        basePath: config.basePath,
        header: `${PASS}: ${pass}`,
      },
      await logIns(guests === 'allowed', READERS),
      await logIns(false, POSTERS),
    );
    await within(MOST_MS, troupe);
  } finally {
    await connections.close(0, 0);
  }
}

async function within(mostMs: number, troupe: Troupe): Promise<void> {
  const late = setTimeout(() => troupe.end(), mostMs);
  try {
    const proof = troupe.awaitProof();
    // It is waited for below, whatever the plays come to.
    proof.catch(() => {});
    for (let i = 0; i < PLAYS; i++) await troupe.play();
    await proof;
  } finally {
    clearTimeout(late);
    troupe.end();
  }
}

/** Like that which runs, but for what it would keep. */
function serviceInMemory(
  { service, shard, config, commands }: Cast,
  store: Store,
  secret: string,
  connections: OpenConnections,
): Service {
  const counts = newCounts();
  const events = { refilled: () => {}, failed: () => {}, insisting: () => {} };
  const delivery = new Delivery(shard.history, { ...config, ...WINDOW }, events, counts);
  delivery.refilled({ epoch: newEpoch(), start: ZERO_ID, last: ZERO_ID, entries: [] }, 'start');
  const writer = new MemoryWriter((entries) => delivery.heard(entries));
  const own = { ...shard, delivery, appender: new Appender(commands, shard.keys, config, writer) };
  const shardOf = () => own;
  return {
    ...service,
    log: openLogToNowhere(config.logLevel),
    connections,
    counts,
    shardOf,
    authority: new SessionAuthority(store, secret, config.sessionTtlMs, service.sites, shardOf),
    siteWatch: new SiteWatch(service.sites, shardOf),
    bearers: undefined,
    logInSession: undefined,
  };
}

/** Opens a session, and answers its cookie. */
async function logIn(store: Store, secret: string, lifeMs: number, guest: boolean): Promise<string> {
  const sid = randomBytes(24).toString('base64url');
  const user: User = { id: `rehearsal-${randomUUID()}`, name: 'Rehearsal', guest };
  const stored: StoredSession = { user, iat: Math.floor(Date.now() / 1000) };
  const cookie = { expires: new Date(Date.now() + lifeMs) };
  await new Promise((resolve) => store.set(sid, { ...stored, cookie } as unknown as SessionData, resolve));
  return `${cookieNameOf(MAIN_SITE)}=${encodeURIComponent(`s:${sign(sid, secret)}`)}`;
}
