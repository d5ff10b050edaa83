import { createHmac } from 'node:crypto';
import { parseCookie } from 'cookie';
import { unsign } from 'cookie-signature';
import type { Request } from 'express';
import type { SessionData, Store } from 'express-session';
import { Refusal } from '../chat/refusals.ts';
import { MAIN_SITE, type SiteName } from '../chat/sites.ts';
import type { Address, UserKey } from '../log/keys.ts';
import type { KnownUser } from '../log/known-users.ts';
import type { SiteBook } from '../log/site-book.ts';
import type { Tail } from '../log/tail.ts';
import { refusalOf, whenReachable } from '../log/unreachable.ts';
import {
  type Authority,
  cookieNameOf,
  type Identity,
  SESSION,
  type StoredSession,
  sessionAddress,
  type Ticket,
  userAddressOf,
  userKeyOf,
} from './authority.ts';
import { bearerOf, isBearerSid, newBearer, sidOfBearer } from './bearer.ts';
import { namedSiteOf } from './named-site.ts';
import type { Shard } from './service.ts';
import { SessionCache } from './session-cache.ts';

const RENEW_EVERY_MS = 30_000;
/** Of cookies and of tokens whose signature needn't be checked again; nothing but others takes them away. */
const MAX_CREDENTIALS = 20_000;
/** More people than ask one process for something while a session is kept. */
const MAX_SESSIONS = 100_000;
/** A log-out must be heard everywhere within 2 s, also where the journal isn't. */
const HEARD_WITHIN_MS = 1500;
/**
 * Longer than several confirmations, so that of those who confirm (each 20 s where a lease is a minute) nearly all are
 * known when they come back at once.
 */
const KEPT_MS = 120_000;
/** Of a token, which lives in a page's memory and is renewed from the host's own session. */
const BEARER_LIFE_MS = 900_000;

/** What a cookie alone tells. */
type CookieTicket = Pick<Ticket, 'sid' | 'addresses'>;

const NOBODY: CookieTicket = { sid: undefined, addresses: [] };

/** What log-ins need of their site's shard. */
interface SessionShard extends Pick<Shard, 'names' | 'rooms' | 'knownUsers'> {
  /** The journal tells of every log-in that ended. */
  readonly tail: Pick<Tail, 'isReading'>;
}

/** Opens sessions that a token stands for, which lives in a page's memory. */
export interface Bearers {
  /** Nothing renews it: it ends at `expiresAt`, in milliseconds since 1970. Refusal: `unavailable`. */
  open(session: StoredSession): Promise<{ token: string; expiresAt: number }>;
}

/** The service's own sessions: reads the cookie and the store, and writes no session but a token's. */
export class SessionAuthority implements Authority, Bearers {
  readonly isTicketLasting = true;
  readonly #store: Store;
  readonly #secret: string;
  readonly #lifeMs: number;
  readonly #shardOf: (site: SiteName) => SessionShard;
  readonly #sites: SiteBook;
  /** By the session's address. What is kept is shared by all who ask for it. */
  readonly #identities: SessionCache<Identity>;
  /** Cookies whose signature was found good, with what follows from them. */
  readonly #cookies = new Map<string, CookieTicket>();
  /** The same of tokens: neither passes for the other. */
  readonly #tokens = new Map<string, CookieTicket>();

  constructor(
    store: Store,
    secret: string,
    lifeMs: number,
    sites: SiteBook,
    shardOf: (site: SiteName) => SessionShard,
  ) {
    this.#store = store;
    this.#secret = secret;
    this.#lifeMs = lifeMs;
    this.#shardOf = shardOf;
    this.#sites = sites;
    // Nobody says that a session ran out.
    const heardMs = Math.min(KEPT_MS, lifeMs / 2);
    this.#identities = new SessionCache((sid, address) => this.#read(sid, address), {
      unheardMs: Math.min(HEARD_WITHIN_MS, heardMs),
      heardMs,
      most: MAX_SESSIONS,
    });
  }

  get sessionCounts(): { readonly kept: number; readonly read: number } {
    return this.#identities.counts;
  }

  ticketOf(req: Request): Ticket {
    const site = namedSiteOf(req) ?? MAIN_SITE;
    const bearer = bearerOf(req);
    // Whoever shows a token is nobody else, whatever the cookie says.
    if (bearer !== undefined) return this.withToken({ site }, bearer);
    const cookie = parseCookie(req.headers.cookie ?? '')[cookieNameOf(site)];
    const known = cookie === undefined ? NOBODY : (this.#cookies.get(cookie) ?? this.#verify(cookie));
    return { site, sid: known.sid, addresses: known.addresses };
  }

  withToken({ site }: Pick<Ticket, 'site'>, token: string): Ticket {
    const kept = this.#tokens.get(token) ?? keep(this.#tokens, token, sidOfBearer(token, this.#secret));
    return { site, sid: kept.sid, addresses: kept.addresses };
  }

  async open(session: StoredSession): Promise<{ token: string; expiresAt: number }> {
    const { token, sid } = newBearer(this.#secret);
    const endsAtMs = Date.now() + BEARER_LIFE_MS;
    const stored = { ...session, endsAtMs, cookie: { expires: new Date(endsAtMs) } };
    await new Promise<void>((resolve, reject) => {
      this.#store.set(sid, stored as unknown as SessionData, (error: unknown) =>
        error ? reject(refusalOf(error, 'unsent')) : resolve(),
      );
    });
    return { token, expiresAt: endsAtMs };
  }

  #verify(cookie: string): CookieTicket {
    const sid = cookie.startsWith('s:') ? unsign(cookie.slice(2), this.#secret) || undefined : undefined;
    return keep(this.#cookies, cookie, sid !== undefined && isBearerSid(sid) ? undefined : sid);
  }

  async identify({ site, sid, addresses }: Ticket): Promise<Identity> {
    const address = addresses[0];
    const { guests } = this.#sites.known(site) ?? (await whenReachable(this.#sites.mustGet(site)));
    const isNobody = sid === undefined || address === undefined;
    const isHeard = this.#shardOf(site).tail.isReading(HEARD_WITHIN_MS);
    const identity = isNobody ? undefined : await this.#identities.get(address, sid, isHeard);
    // One that is kept may have ended since it was read.
    const isOver = identity?.endsAtMs !== undefined && identity.endsAtMs <= Date.now();
    if (identity === undefined || identity.site !== site || isOver) {
      throw new Refusal('no_session', 'You are not logged in: POST {"name": …} to /api/session first.');
    }
    if (identity.user.guest && guests === 'refused')
      throw new Refusal('guests_refused', 'Only users of the site itself may be here.');
    return identity;
  }

  forget(address?: Address): void {
    if (address === undefined) this.#identities.clear();
    else if (address.startsWith(SESSION)) this.#identities.drop(address);
    else this.#identities.dropEach(({ userAddress }) => userAddress === address);
  }

  async renew({ sid }: Ticket, { site, user, userKey, memberMs }: Identity): Promise<void> {
    if (sid === undefined || isBearerSid(sid) || !this.#isDue(sid)) return;
    await new Promise<void>((resolve) => {
      const session = { cookie: {} } as Parameters<NonNullable<Store['touch']>>[1];
      if (this.#store.touch) this.#store.touch(sid, session, () => resolve());
      else resolve();
    });
    const { names, rooms, knownUsers } = this.#shardOf(site);
    if (!user.guest) return knownUsers.keep(userKey);
    await names.reserve(site, user.name, userKey, undefined);
    await rooms.renew(userKey, Date.now() + memberMs);
  }

  formTokenOf({ sid }: Ticket): string | undefined {
    return sid === undefined
      ? undefined
      : createHmac('sha256', this.#secret).update(`form:${sid}`).digest('base64url');
  }

  readonly #renewedAt = new Map<string, number>();

  /** A session that posts a lot is renewed now and then, not each time. */
  #isDue(sid: string): boolean {
    const now = performance.now();
    const isOver = (at: number) => now - at >= RENEW_EVERY_MS;
    const renewedAt = this.#renewedAt.get(sid);
    if (renewedAt !== undefined && !isOver(renewedAt)) return false;
    for (const [other, at] of this.#renewedAt) {
      if (!isOver(at)) break;
      this.#renewedAt.delete(other);
    }
    this.#renewedAt.set(sid, now);
    return true;
  }

  /** Whose the session is, with what its host has said of that user since; undefined if that ended it. */
  async #read(sid: string, address: string): Promise<Identity | undefined> {
    const session = await this.#readStored(sid);
    if (session?.user === undefined) return undefined;
    const { site = MAIN_SITE, iat = 0, endsAtMs } = session;
    const userKey = userKeyOf(site, session.user);
    const { claims, revokedAt } = await this.#readUser(site, userKey);
    // A guest's id is one log-in's: nothing makes it valid again.
    if (revokedAt !== undefined && (session.user.guest || iat <= revokedAt)) {
      await this.#destroy(sid);
      return undefined;
    }
    const { user = session.user, rooms } = claims === undefined || claims.iat < iat ? session : claims;
    return {
      site,
      user,
      userKey,
      userAddress: userAddressOf(userKey),
      // A token's successor goes on with what it began.
      holder: isBearerSid(sid) ? userKey : address.slice(SESSION.length),
      rooms,
      endsAtMs,
      memberMs: user.guest ? this.#lifeMs : Number.POSITIVE_INFINITY,
    };
  }

  #destroy(sid: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#store.destroy(sid, (error: unknown) => (error ? reject(refusalOf(error, 'unsent')) : resolve()));
    });
  }

  #readUser(site: SiteName, userKey: UserKey): Promise<KnownUser> {
    return whenReachable(this.#shardOf(site).knownUsers.read(userKey));
  }

  #readStored(sid: string): Promise<StoredSession | undefined> {
    return new Promise((resolve, reject) => {
      this.#store.get(sid, (error: unknown, session) => {
        if (error) reject(refusalOf(error, 'unsent'));
        else resolve((session as StoredSession | null | undefined) ?? undefined);
      });
    });
  }
}

/** Keeps what a credential stands for, in place of the oldest where there are too many. */
function keep(tickets: Map<string, CookieTicket>, credential: string, sid: string | undefined): CookieTicket {
  if (sid === undefined) return NOBODY;
  const ticket = { sid, addresses: [sessionAddress(sid)] };
  if (tickets.size >= MAX_CREDENTIALS) tickets.delete(tickets.keys().next().value as string);
  tickets.set(credential, ticket);
  return ticket;
}
