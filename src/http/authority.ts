import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { parseCookie } from 'cookie';
import { unsign } from 'cookie-signature';
import type { Request } from 'express';
import type { Store } from 'express-session';
import { Refusal } from '../chat/refusals.ts';
import { MAIN_SITE, type SiteName } from '../chat/sites.ts';
import { parseHostUser, type User } from '../chat/users.ts';
import type { Address, UserKey } from '../log/keys.ts';
import type { SiteBook } from '../log/site-book.ts';
import { refusalOf } from '../log/unreachable.ts';
import { namedSiteOf } from './named-site.ts';
import { whenReachable } from './reachable.ts';
import type { Shard } from './service.ts';
import { SessionCache } from './session-cache.ts';

/** Who asks, as far as the request alone tells: enough to hear of a log-out from here on. */
export interface Ticket {
  /** For the host's hook alone: it would keep the request for as long as a stream lasts. */
  readonly req?: Request;
  /** The site that is asked; whether there is one of that name isn't known yet. */
  readonly site: SiteName;
  readonly sid: string | undefined;
  readonly addresses: readonly Address[];
}

/** Somebody known, of the ticket's site. `holder` stands for this log-in in leases. */
export interface Identity {
  readonly site: SiteName;
  readonly user: User;
  readonly userKey: UserKey;
  readonly holder: string;
  /** Until when a membership made now lasts, in milliseconds since 1970. */
  readonly untilMs: number;
}

/** Tells who a request is from. */
export interface Authority {
  /** Whether a ticket tells of a log-out that came after its request; if not, only a new request does. */
  readonly isTicketLasting: boolean;
  /** Refusals: `invalid_field`; `no_site`, where only one can be asked. */
  ticketOf(req: Request): Ticket;
  /** Refusals: `no_site`, `no_session`, `unavailable`. */
  identify(ticket: Ticket): Promise<Identity>;
  /** Keeps the log-in, its name and its memberships alive. */
  renew(ticket: Ticket, identity: Identity): Promise<void>;
  /** The log-in behind an address has ended; without one: any may have. */
  forget(address?: Address): void;
  /** The token that a form must carry where its `Origin` isn't known; undefined without a session. */
  formTokenOf(ticket: Ticket): string | undefined;
  /** How often a session was known in this process, and how often it had to be read; undefined without sessions. */
  readonly sessionCounts: { readonly kept: number; readonly read: number } | undefined;
}

/** The session as the store keeps it; without a site it is of `main`. */
export interface StoredSession {
  site?: SiteName;
  user?: User;
}

/** The cookie of a site: a browser may be logged in at several. */
export function cookieNameOf(site: SiteName): string {
  return site === MAIN_SITE ? 'throughline.sid' : `throughline.sid.${site}`;
}

/** The name of a session that may be told: it can't be turned back into the cookie. */
export function sessionHash(sid: string): string {
  return createHash('sha256').update(sid).digest('base64url').slice(0, 32);
}

export function sessionAddress(sid: string): Address {
  return `session:${sessionHash(sid)}`;
}

export function userKeyOf(site: SiteName, user: User): UserKey {
  return `${site}/${user.id}`;
}

/** Whether two texts are the same, in a time that tells nothing of where they differ. */
export function isSame(a: string, b: string): boolean {
  const [x, y] = [Buffer.from(a), Buffer.from(b)];
  return x.length === y.length && timingSafeEqual(x, y);
}

/** Whether the log-in is still good. Rejects if that can't be told now. */
export async function isStillKnown(authority: Authority, ticket: Ticket): Promise<boolean> {
  try {
    await authority.identify(ticket);
    return true;
  } catch (error) {
    if (error instanceof Refusal && error.code === 'no_session') return false;
    throw error;
  }
}

const RENEW_EVERY_MS = 30_000;
/** No longer than a log-out may take to be heard everywhere, so that a tail without Redis costs nothing of that. */
const KEEP_SESSIONS_MS = 1500;
const MAX_KEPT = 20_000;

/** What a cookie alone tells. */
type CookieTicket = Pick<Ticket, 'sid' | 'addresses'>;

const NOBODY: CookieTicket = { sid: undefined, addresses: [] };

/** The service's own sessions: reads the cookie and the store, and never writes the session. */
export class SessionAuthority implements Authority {
  readonly isTicketLasting = true;
  readonly #store: Store;
  readonly #secret: string;
  readonly #lifeMs: number;
  readonly #shardOf: (site: SiteName) => Pick<Shard, 'names' | 'rooms'>;
  readonly #sites: SiteBook;
  readonly #sessions = new SessionCache((sid) => this.#read(sid), KEEP_SESSIONS_MS, MAX_KEPT);
  /** Cookies whose signature was found good, with what follows from them. */
  readonly #tickets = new Map<string, CookieTicket>();

  constructor(
    store: Store,
    secret: string,
    lifeMs: number,
    sites: SiteBook,
    shardOf: (site: SiteName) => Pick<Shard, 'names' | 'rooms'>,
  ) {
    this.#store = store;
    this.#secret = secret;
    this.#lifeMs = lifeMs;
    this.#shardOf = shardOf;
    this.#sites = sites;
  }

  get sessionCounts(): { readonly kept: number; readonly read: number } {
    return this.#sessions.counts;
  }

  ticketOf(req: Request): Ticket {
    const site = namedSiteOf(req) ?? MAIN_SITE;
    const cookie = parseCookie(req.get('cookie') ?? '')[cookieNameOf(site)];
    const known = cookie === undefined ? NOBODY : (this.#tickets.get(cookie) ?? this.#verify(cookie));
    return { site, ...known };
  }

  #verify(cookie: string): CookieTicket {
    const sid = cookie.startsWith('s:') ? unsign(cookie.slice(2), this.#secret) || undefined : undefined;
    if (sid === undefined) return NOBODY;
    const ticket = { sid, addresses: [sessionAddress(sid)] };
    this.#tickets.set(cookie, ticket);
    if (this.#tickets.size > MAX_KEPT) this.#tickets.delete(this.#tickets.keys().next().value as string);
    return ticket;
  }

  async identify({ site, sid, addresses: [address] }: Ticket): Promise<Identity> {
    await whenReachable(this.#sites.mustGet(site));
    const session =
      sid === undefined || address === undefined ? undefined : await this.#sessions.get(address, sid);
    const isOfSite = (session?.site ?? MAIN_SITE) === site;
    if (sid === undefined || session?.user === undefined || !isOfSite) {
      throw new Refusal('no_session', 'You are not logged in: POST {"name": …} to /api/session first.');
    }
    const { user } = session;
    return {
      site,
      user,
      userKey: userKeyOf(site, user),
      holder: sessionHash(sid),
      untilMs: Date.now() + this.#lifeMs,
    };
  }

  forget(address?: Address): void {
    if (address === undefined) this.#sessions.clear();
    else this.#sessions.drop(address);
  }

  async renew({ sid }: Ticket, { site, user, userKey, untilMs }: Identity): Promise<void> {
    if (sid === undefined || !this.#isDue(sid)) return;
    await new Promise<void>((resolve) => {
      const session = { cookie: {} } as Parameters<NonNullable<Store['touch']>>[1];
      if (this.#store.touch) this.#store.touch(sid, session, () => resolve());
      else resolve();
    });
    const { names, rooms } = this.#shardOf(site);
    await names.reserve(site, user.name, userKey, undefined);
    await rooms.renew(userKey, untilMs);
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
    for (const [other, at] of this.#renewedAt) {
      if (now - at < RENEW_EVERY_MS) break;
      this.#renewedAt.delete(other);
    }
    if (this.#renewedAt.has(sid)) return false;
    this.#renewedAt.set(sid, now);
    return true;
  }

  #read(sid: string): Promise<StoredSession | undefined> {
    return new Promise((resolve, reject) => {
      this.#store.get(sid, (error: unknown, session) => {
        if (error) reject(refusalOf(error, 'unsent'));
        else resolve((session as StoredSession | null | undefined) ?? undefined);
      });
    });
  }
}

/** What a host application's own log-in says: `undefined` for nobody. */
export type UserHook = (req: Request) => unknown;

/** Users of the application that the service is mounted in, all of one site; its session is neither read nor written here. */
export class HostAuthority implements Authority {
  /** The hook reads the session that the host parsed when the request came. */
  readonly isTicketLasting = false;
  readonly #user: UserHook;
  readonly #site: SiteName;
  readonly sessionCounts = undefined;

  constructor(user: UserHook, site: SiteName) {
    this.#user = user;
    this.#site = site;
  }

  ticketOf(req: Request): Ticket {
    const site = namedSiteOf(req) ?? this.#site;
    if (site !== this.#site)
      throw new Refusal('no_site', `There is no site ${site} here.`, { field: 'site' });
    return { req, site, sid: undefined, addresses: [] };
  }

  async identify({ req, site }: Ticket): Promise<Identity> {
    const answer = await this.#user(req as Request);
    if (answer === undefined || answer === null) throw new Refusal('no_session', 'You are not logged in.');
    const user = parseHostUser(answer);
    const userKey = userKeyOf(site, user);
    return { site, user, userKey, holder: userKey, untilMs: Number.POSITIVE_INFINITY };
  }

  async renew(): Promise<void> {}

  forget(): void {}

  formTokenOf(): undefined {
    return undefined;
  }
}
