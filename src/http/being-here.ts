import { Refusal } from '../chat/refusals.ts';
import type { RoomKey } from '../chat/rooms.ts';
import { whenReachable } from '../log/unreachable.ts';
import { type Identity, isStillKnown, type Ticket } from './authority.ts';
import type { Service } from './service.ts';

/** Renews somebody's presence in rooms. Refusals: `no_session`, `too_fast`, `unavailable`. */
export async function beHere(
  { authority, shardOf }: Pick<Service, 'authority' | 'shardOf'>,
  ticket: Ticket,
  { userKey, user }: Identity,
  rooms: readonly RoomKey[],
): Promise<void> {
  const { presence } = shardOf(ticket.site);
  if (!(await whenReachable(presence.renew(rooms, userKey, user)))) return;
  // A log-out meanwhile took presence away, perhaps before this gave it.
  if (await isStillKnown(authority, ticket)) return;
  await whenReachable(presence.drop(userKey, rooms));
  throw new Refusal('no_session', 'The session has ended.');
}
