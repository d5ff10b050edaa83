import { createHash } from 'node:crypto';
import type { Request } from 'express';
import type { OpenRooms } from '../chat/claims.ts';
import { Refusal } from '../chat/refusals.ts';
import { MAIN_SITE, type SiteName } from '../chat/sites.ts';
import type { User } from '../chat/users.ts';
import type { Address, UserKey } from '../log/keys.ts';

/** Who asks, as far as the request alone tells: enough to hear of a log-out from here on. */
export interface Ticket {
  /** For the host's hook alone: it would keep the request for as long as a stream lasts. */
  readonly req?: Request;
  /** The site that is asked; whether there is one of that name isn't known yet. */
  readonly site: SiteName;
  /** By what the log-in is found again: a session's id, or an API key. */
  readonly sid: string | undefined;
  readonly addresses: readonly Address[];
}

/** Somebody known, of the ticket's site. `holder` stands for this log-in in leases. */
export interface Identity {
  readonly site: SiteName;
  readonly user: User;
  readonly userKey: UserKey;
  /** The address at which what concerns this user is told. */
  readonly userAddress: Address;
  readonly holder: string;
  /** Where the user may read and write; undefined: in all rooms of the site. */
  readonly rooms: OpenRooms;
  /** When the log-in ends, whatever happens; in milliseconds since 1970. */
  readonly endsAtMs?: number | undefined;
  /** How long a membership lasts that is made or renewed, in milliseconds; Infinity: for good. */
  readonly memberMs: number;
}

/** Tells who a request is from. */
export interface Authority {
  /** Whether a ticket tells of a log-out that came after its request; if not, only a new request does. */
  readonly isTicketLasting: boolean;
  /** Refusals: `invalid_field`; `no_site`, where only one can be asked. */
  ticketOf(req: Request): Ticket;
  /** The same request, by whom that token stands for; undefined where tokens aren't used. */
  withToken(ticket: Ticket, token: string): Ticket | undefined;
  /** Refusals: `no_site`, `no_session`, `guests_refused`, `unavailable`. */
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
  rooms?: OpenRooms;
  /** When the claims were made that it comes from, or a guest logged in; seconds since 1970. */
  iat?: number;
  /** Of a token: when it ends. */
  endsAtMs?: number;
}

/** The cookie of a site: a browser may be logged in at several. */
export function cookieNameOf(site: SiteName): string {
  return site === MAIN_SITE ? 'throughline.sid' : `throughline.sid.${site}`;
}

export const SESSION = 'session:';

/** The name of a session that may be told: it can't be turned back into the cookie. */
function sessionHash(sid: string): string {
  return createHash('sha256').update(sid).digest('base64url').slice(0, 32);
}

export function sessionAddress(sid: string): Address {
  return `${SESSION}${sessionHash(sid)}`;
}

export function userKeyOf(site: SiteName, user: User): UserKey {
  return `${site}/${user.id}`;
}

/** One user of a site, wherever logged in. */
export function userAddressOf(userKey: UserKey): Address {
  return `user:${userKey}`;
}

/** Of a user without a session of the service's: leases stand for the user, all rooms of the site are open, memberships last for good. */
export function sessionlessIdentity(site: SiteName, user: User): Identity {
  const userKey = userKeyOf(site, user);
  return {
    site,
    user,
    userKey,
    userAddress: userAddressOf(userKey),
    holder: userKey,
    rooms: undefined,
    memberMs: Number.POSITIVE_INFINITY,
  };
}

/** Whether the log-in is still good. Rejects if that can't be told now. */
export async function isStillKnown(authority: Authority, ticket: Ticket): Promise<boolean> {
  return (await known(authority.identify(ticket))) !== undefined;
}

/** Nobody instead of the refusals `no_session` and `guests_refused`. */
export async function known(identity: Promise<Identity>): Promise<Identity | undefined> {
  try {
    return await identity;
  } catch (error) {
    if (error instanceof Refusal && (error.code === 'no_session' || error.code === 'guests_refused'))
      return undefined;
    throw error;
  }
}
