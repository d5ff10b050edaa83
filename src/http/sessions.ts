import { randomBytes } from 'node:crypto';
import type { CookieOptions, Request, Response } from 'express';
import { Refusal } from '../chat/refusals.ts';
import { parseGuestLogIn, type User } from '../chat/users.ts';
import { refusalOf } from '../log/unreachable.ts';
import {
  cookieNameOf,
  type Identity,
  type StoredSession,
  sessionAddress,
  type Ticket,
  userKeyOf,
} from './authority.ts';
import { whenReachable } from './reachable.ts';
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
 * `POST /api/session {name}`: logs a guest in under a name that nobody else bears, with a session id made anew.
 * A session that the same browser had before ends. Refusals: `invalid_field`, `name_taken`, `guests_refused`.
 */
export function logIn(service: Service) {
  return async (req: Request, res: Response): Promise<void> => {
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
  const user: User = { id: `guest-${randomBytes(9).toString('base64url')}`, name, guest: true };
  const userKey = userKeyOf(site, user);
  if (!(await whenReachable(names.reserve(site, name, userKey, previous?.userKey)))) {
    throw new Refusal('name_taken', 'Somebody else here has this name already.', { field: 'name' });
  }
  try {
    await settled((done) => req.session.regenerate(done));
    Object.assign(req.session, { site, user } satisfies StoredSession);
    await settled((done) => req.session.save(done));
  } catch (error) {
    await names.release(site, name, userKey).catch(() => {});
    throw refusalOf(error, 'unsent');
  }
  if (previous !== undefined) await end(service, before, previous);
  return { user, ticket: { ...before, sid: req.sessionID, addresses: [sessionAddress(req.sessionID)] } };
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
  const identity = await known(service.authority.identify(ticket));
  const { site, sid } = ticket;
  if (sid !== undefined) {
    if (identity !== undefined) await whenReachable(settled((done) => req.sessionStore.destroy(sid, done)));
    await end(service, ticket, identity);
  }
  const { path = '/', partitioned } = req.session.cookie as CookieOptions;
  // [spec] CHIPS: a cookie of a frame is another than the page's of the same name, and is taken back like it was given.
  const attributes = partitioned ? { sameSite: 'none' as const, secure: true, partitioned } : {};
  res.clearCookie(cookieNameOf(site), { path, ...attributes });
}

/** Tells every process that the session has ended, and gives back what it held. */
async function end(
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
  await whenReachable(names.release(identity.site, identity.user.name, identity.userKey));
  await whenReachable(rooms.forget(identity.userKey));
  await whenReachable(presence.drop(identity.userKey));
}

/** Nobody instead of the refusal `no_session`. */
export async function known(identity: Promise<Identity>): Promise<Identity | undefined> {
  try {
    return await identity;
  } catch (error) {
    if (error instanceof Refusal && error.code === 'no_session') return undefined;
    throw error;
  }
}

function settled(call: (done: (error?: unknown) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => call((error) => (error ? reject(error) : resolve())));
}
