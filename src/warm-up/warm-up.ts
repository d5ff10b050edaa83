import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { sign } from 'cookie-signature';
import { Router } from 'express';
import session, { type SessionData, type Store } from 'express-session';
import { createRouter } from '../app.ts';
import { ZERO_ID } from '../chat/ids.ts';
import { MAIN_SITE } from '../chat/sites.ts';
import type { User } from '../chat/users.ts';
import type { Config } from '../config.ts';
import { newCounts } from '../delivery/counts.ts';
import { Delivery } from '../delivery/delivery.ts';
import type { CreateServer } from '../http/app-server.ts';
import { cookieNameOf, type StoredSession } from '../http/authority.ts';
import { OpenConnections } from '../http/open-connections.ts';
import type { Service } from '../http/service.ts';
import { SessionAuthority } from '../http/session-authority.ts';
import { SiteWatch } from '../http/site-watch.ts';
import { Appender } from '../log/append.ts';
import { newEpoch } from '../log/epoch.ts';
import { openLogToNowhere, withoutCommand } from '../log/logger.ts';
import type { RedisClient } from '../log/redis-client.ts';
import { unlessAborted } from '../log/unless-aborted.ts';
import type { OpenShard } from '../open-shard.ts';
import { MemoryWriter } from './memory-writer.ts';
import { Visitors } from './visitors.ts';

const ROUNDS = 2;
const READERS = 40;
const POSTERS = 4;
/** Enough for all that they say, whatever the service's own is. */
const WINDOW = { windowEntries: 1000, windowBytes: 1_000_000 };
const MOST_MS = 5000;
/** By this header our own requests are told from those of whoever else finds the port. */
const PASS = 'x-warm-up';

/** A service that runs, and what it is made of. */
interface Parts {
  readonly service: Service;
  /** That of the main site. */
  readonly shard: OpenShard;
  readonly config: Config;
  readonly commands: RedisClient;
}

/**
 * Serves some visitors of its own, over loopback, before anybody else comes: readers come, are told, leave, miss something, and come
 * back. V8 compiles for what it has seen. What it has compiled while thousands came for the first time it throws away when the first
 * message is posted, when the first of them leaves, when the first comes back, and compiles it again while all of them wait; what has
 * seen each of these before it is compiled serves them all.
 *
 * The sessions, the journal and the readers are in memory, and gone afterwards: nothing is kept in Redis, and nobody hears of it. It is
 * done by servers of the application that will serve, whose requests and responses V8 then knows; `use` gives that another router. One
 * that fails or takes longer than 5 s is logged; one that the signal ends isn't.
 */
export async function warmUp(
  parts: Parts,
  createServer: CreateServer,
  use: (router: Router) => void,
  signal?: AbortSignal,
): Promise<void> {
  const startedAt = performance.now();
  const { log } = parts.service;
  const ending = new AbortController();
  const late = setTimeout(() => ending.abort(new Error('it took too long')), MOST_MS);
  const stop = () => ending.abort(signal?.reason);
  signal?.addEventListener('abort', stop);
  try {
    signal?.throwIfAborted();
    await serveVisitors(parts, createServer, use, ending.signal);
    log.debug({ ms: Math.round(performance.now() - startedAt) }, 'warmed up');
  } catch (error) {
    if (signal?.aborted) return;
    log.warn(
      { err: withoutCommand(error) },
      'the warm-up failed; those who come first are served more slowly',
    );
  } finally {
    clearTimeout(late);
    signal?.removeEventListener('abort', stop);
  }
}

async function serveVisitors(
  parts: Parts,
  createServer: CreateServer,
  use: (router: Router) => void,
  ending: AbortSignal,
): Promise<void> {
  const { service, config } = parts;
  const { guests } = await unlessAborted(service.sites.mustGet(MAIN_SITE), ending);
  const store = new session.MemoryStore();
  const secret = randomUUID();
  const pass = randomUUID();
  const connections = new OpenConnections();
  const router = Router();
  router.use((req, _res, next) => {
    if (req.get(PASS) === pass) next();
    else req.socket.destroy();
  });
  router.use(createRouter(serviceInMemory(parts, store, secret, connections)));
  use(router);
  const server = createServer();
  connections.attend(server);
  server.on('upgrade', (_req, socket) => socket.destroy());
  // What is wrong before it listens is told below; one connection that can't be accepted is missed by who waits for it.
  server.on('error', () => {});
  let visitors: Visitors | undefined;
  try {
    // A worker's would be shared with the others.
    server.listen({ port: 0, host: '127.0.0.1', exclusive: true });
    await unlessAborted(once(server, 'listening'), ending);
    const { port } = server.address() as AddressInfo;
    // Posts renew the session, and a guest's name with it, which would be written; of a known user there is nothing to renew.
    const logIns = (isGuest: boolean, count: number) =>
      Promise.all(Array.from({ length: count }, () => logIn(store, secret, config.sessionTtlMs, isGuest)));
    visitors = new Visitors(
      { port, basePath: config.basePath, header: `${PASS}: ${pass}` },
      await logIns(guests === 'allowed', READERS),
      await logIns(false, POSTERS),
    );
    await unlessAborted(Promise.all([visitors.awaitProof(), roundsOf(visitors)]), ending);
  } finally {
    visitors?.end();
    await connections.close(0, 0);
  }
}

async function roundsOf(visitors: Visitors): Promise<void> {
  for (let i = 0; i < ROUNDS; i++) await visitors.round();
}

/** Like that which runs, but for what it would keep. */
function serviceInMemory(
  { service, shard, config, commands }: Parts,
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
  const user: User = { id: `warm-up-${randomUUID()}`, name: 'Warm-up', guest };
  const stored: StoredSession = { user, iat: Math.floor(Date.now() / 1000) };
  const cookie = { expires: new Date(Date.now() + lifeMs) };
  await new Promise((resolve) => store.set(sid, { ...stored, cookie } as unknown as SessionData, resolve));
  return `${cookieNameOf(MAIN_SITE)}=${encodeURIComponent(`s:${sign(sid, secret)}`)}`;
}
