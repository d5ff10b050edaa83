import type { Request, Response } from 'express';
import { type Exchange, listedRooms } from '../chat/claims.ts';
import { Refusal } from '../chat/refusals.ts';
import { whenReachable } from '../log/unreachable.ts';
import { known, type StoredSession, userAddressOf, userKeyOf } from './authority.ts';
import { checkClaimsOrigin } from './origin.ts';
import { revokeUser } from './revoke-user.ts';
import type { Service } from './service.ts';
import { changeSession, end, openSession } from './sessions.ts';
import { verifyClaims } from './verify-claims.ts';

/**
 * `POST /api/session {claims, token?}`: `{user, site, role, rooms}`. 201 with a cookie and a session id made anew; 200
 * where the browser is logged in as that user already, whose session goes on, since each page and tab hands its claims
 * in. With `token=1` no cookie, but `{token, expiresAt}` (milliseconds since 1970).
 * Refusals: `origin_refused`, all that begin with `claims_`, `unavailable`.
 */
export async function exchangeClaims(
  service: Service,
  req: Request,
  res: Response,
  { claims: text, wantsToken }: Exchange,
): Promise<void> {
  const { authority, sites, jwts, bearers, counts } = service;
  const before = authority.ticketOf(req);
  const { site: name } = before;
  await checkClaimsOrigin(req, name, service);
  const site = await whenReachable(sites.mustGet(name));
  const claims = await verifyClaims(site, text, jwts);
  const userKey = userKeyOf(name, claims.user);
  const { appender, names, knownUsers } = service.shardOf(name);
  const admission = await whenReachable(knownUsers.admit(userKey, claims));
  if (admission === 'revoked') {
    throw new Refusal(
      'claims_revoked',
      'This user was logged out after these claims were made: make new ones.',
      {
        field: 'iat',
      },
    );
  }
  // What the host said later counts, also to whoever comes with what it said before.
  const newest = admission === 'older' ? (await whenReachable(knownUsers.read(userKey))).claims : undefined;
  const { user, rooms } = newest ?? claims;
  const guest = await whenReachable(names.keepForKnown(name, user.name));
  // Nobody is called like somebody known: the guest is asked for another name.
  if (guest !== undefined) await revokeUser(service, name, guest.slice(name.length + 1));
  const session: StoredSession = { site: name, user, rooms, iat: claims.iat };
  const told = { user, site: name, role: user.role ?? 'member', rooms: listedRooms(rooms) };
  // Open streams of the user, wherever they are, are to go by what was said now.
  const tellChange = async () => {
    if (admission !== 'changed') return;
    await appender.announce(userAddressOf(userKey), 'rights');
    await whenReachable(knownUsers.toldChange(userKey, claims));
  };
  if (wantsToken) {
    const bearer = await bearers?.open(session);
    await tellChange();
    counts.logIns.known++;
    res.status(201).json({ ...told, ...bearer });
    return;
  }
  const previous = await known(authority.identify(before));
  if (previous?.userKey === userKey && before.sid === req.sessionID) {
    await changeSession(req, session);
    if (before.addresses[0] !== undefined) authority.forget(before.addresses[0]);
    await tellChange();
    res.status(200).json({ ...told, formToken: authority.formTokenOf(before) });
    return;
  }
  const ticket = await openSession(req, before, session);
  if (previous !== undefined) await end(service, before, previous);
  await tellChange();
  counts.logIns.known++;
  res.status(201).json({ ...told, formToken: authority.formTokenOf(ticket) });
}
