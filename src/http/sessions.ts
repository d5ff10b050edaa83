import { randomBytes } from 'node:crypto';
import type { CookieOptions, Request, Response } from 'express';
import { parseExchange } from '../chat/claims.ts';
import { Refusal } from '../chat/refusals.ts';
import { newGuest, parseGuestLogIn, type User } from '../chat/users.ts';
import { refusalOf, whenReachable } from '../log/unreachable.ts';
import {
  cookieNameOf,
  type Identity,
  known,
  type StoredSession,
  sessionAddress,
  type Ticket,
  userKeyOf,
} from './authority.ts';
import { bearerOf } from './bearer.ts';
import { exchangeClaims } from './exchange-claims.ts';
import type { Service } from './service.ts';

/** `GET /api/session`: who one is, `{user: null}` for nobody. */
export function tellSession({ authority }: Service) {
  return async (req: Request, res: Response): Promise<void> => {
    const ticket = authority.ticketOf(req);
    const identity = await known(authority.identify(ticket));
    const formToken = identity && authority.formTokenOf(ticket);
    res.json({ user: identity?.user ?? null, ...(formToken && { formToken }) });
  };
}

/**
 * `POST /api/session {claims, token?}`: logs in whom a host site vouches for; see `exchange-claims.ts`. `{name}`: logs a guest in under a name that nobody else bears, with a session id made anew.
 * A session that the same browser had before ends. Refusals: `invalid_field`, `name_taken`, `guests_refused`.
 */
export function logIn(service: Service) {
  return async (req: Request, res: Response): Promise<void> => {
    const exchange = parseExchange(req.body);
    if (exchange !== undefined) return exchangeClaims(service, req, res, exchange);
    const { name } = parseGuestLogIn(req.body ?? {});
    const { user, ticket } = await enterAsGuest(service, req, name);
    res.status(201).json({ user, formToken: service.authority.formTokenOf(ticket) });
  };
}

/** Gives the browser a new session, of a guest of that name. Refusals: `name_taken`, `guests_refused`, `no_site`. */
export async function enterAsGuest(
  service: Service,
  req: Request,
  name: string,
): Promise<{ user: User; ticket: Ticket }> {
  const { authority, sites } = service;
  const before = authority.ticketOf(req);
  const { site } = before;
  const { names } = service.shardOf(site);
  if ((await whenReachable(sites.mustGet(site))).guests === 'refused') {
    throw new Refusal('guests_refused', 'Only users of the site itself may log in here.');
  }
  const previous = await known(authority.identify(before));
  const user = newGuest(name, randomBytes(9).toString('base64url'));
  const userKey = userKeyOf(site, user);
  if (!(await whenReachable(names.reserve(site, name, userKey, previous?.userKey)))) {
    throw new Refusal('name_taken', 'Somebody else here has this name already.', { field: 'name' });
  }
  let ticket: Ticket;
  try {
    ticket = await openSession(req, before, { site, user, iat: Math.floor(Date.now() / 1000) });
  } catch (error) {
    await names.release(site, name, userKey).catch(() => {});
    throw error;
  }
  if (previous !== undefined) await end(service, before, previous);
  service.counts.logIns.guest++;
  return { user, ticket };
}

/** Gives the browser a session with an id made anew. */
export async function openSession(req: Request, before: Ticket, session: StoredSession): Promise<Ticket> {
  try {
    await settled((done) => req.session.regenerate(done));
    Object.assign(req.session, session);
    await settled((done) => req.session.save(done));
  } catch (error) {
    throw refusalOf(error, 'unsent');
  }
  return { ...before, sid: req.sessionID, addresses: [sessionAddress(req.sessionID)] };
}

/** Changes what the browser's session says. */
export async function changeSession(req: Request, session: StoredSession): Promise<void> {
  Object.assign(req.session, session);
  await whenReachable(settled((done) => req.session.save(done)));
}

/** `POST /api/session/end`: logs out; open streams and polls of the session end on every process. Safe to repeat. */
export function logOut(service: Service) {
  return async (req: Request, res: Response): Promise<void> => {
    await leave(service, req, res);
    res.status(204).end();
  };
}

/** Ends the browser's session, and takes its cookie back. */
export async function leave(service: Service, req: Request, res: Response): Promise<void> {
  const ticket = service.authority.ticketOf(req);
  const { site, sid } = ticket;
  let isOfSite = true;
  const identity = await known(
    service.authority.identify(ticket).catch((error: unknown) => {
      // A guest who is shut out has a session to end as well.
      isOfSite = error instanceof Refusal && error.code === 'guests_refused';
      throw error;
    }),
  );
  if (sid !== undefined) {
    if (isOfSite) await whenReachable(settled((done) => req.sessionStore.destroy(sid, done)));
    await end(service, ticket, identity);
  }
  // The cookie may be somebody else's.
  if (bearerOf(req) !== undefined) return;
  const { path = '/', partitioned } = req.session.cookie as CookieOptions;
  // [spec] CHIPS: a cookie of a frame is another than the page's of the same name, and is taken back like it was given.
  const attributes = partitioned ? { sameSite: 'none' as const, secure: true, partitioned } : {};
  res.clearCookie(cookieNameOf(site), { path, ...attributes });
}

/** Tells every process that the session has ended, and gives back what it held. */
export async function end(
  { authority, shardOf }: Service,
  { site, sid }: Ticket,
  identity: Identity | undefined,
): Promise<void> {
  const { appender, names, rooms, presence } = shardOf(site);
  if (sid !== undefined) {
    authority.forget(sessionAddress(sid));
    await appender.announce(sessionAddress(sid), 'session-end');
  }
  if (identity === undefined) return;
  // What a host's user is a member of stays, for the other sessions and for the next.
  if (identity.user.guest) {
    await whenReachable(names.release(identity.site, identity.user.name, identity.userKey));
    await whenReachable(rooms.forget(identity.userKey));
  }
  await whenReachable(presence.drop(identity.userKey));
}

function settled(call: (done: (error?: unknown) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => call((error) => (error ? reject(error) : resolve())));
}
