import { Refusal } from '../chat/refusals.ts';
import { type RoomKey, type RoomName, roomKey, roomNameOf } from '../chat/rooms.ts';
import type { Permission } from '../delivery/reader.ts';
import { jittered } from '../log/jitter.ts';
import type { RoomBook } from '../log/room-book.ts';
import { whenReachable } from '../log/unreachable.ts';
import { type Authority, type Identity, known, type Ticket } from './authority.ts';

const COME_BACK_MS = 1000;

/** Whether somebody's claims open a room. */
export function mayEnter({ rooms }: Identity, room: RoomName): boolean {
  return rooms === undefined || rooms.includes(room);
}

/** A room of somebody's site, for reading or writing. Refusal: `room_forbidden`, whether or not there is such a room. */
export function openRoom(identity: Identity, room: RoomName): RoomKey {
  if (!mayEnter(identity, room))
    throw new Refusal('room_forbidden', `The room ${room} isn’t open to you.`, { field: 'room' });
  return roomKey(identity.site, room);
}

/** Refusal: `room_forbidden`, if one of the rooms isn't open. */
export function mustEnterAll(identity: Identity, rooms: readonly RoomKey[]): void {
  if (identity.rooms === undefined) return;
  for (const room of rooms) openRoom(identity, roomNameOf(room));
}

/** Undefined where nobody must be asked. Refusals: `room_not_found`, naming the first that there isn't; `unavailable`. */
export function mustExistAll(
  book: Pick<RoomBook, 'areThere' | 'mustExist'>,
  rooms: readonly RoomKey[],
): Promise<void> | undefined {
  return book.areThere(rooms) ? undefined : whenReachable(book.mustExist(rooms));
}

/**
 * Whether a reader of these rooms may still read all of them. Rejects if that can't be told now. Where only a request of its
 * own can tell, its client makes one, and those of many come spread over `spreadMs`.
 */
export async function mayStillRead(
  authority: Authority,
  ticket: Ticket,
  rooms: readonly RoomKey[],
  spreadMs: number,
): Promise<Permission> {
  if (!authority.isTicketLasting) return { code: 'rights_changed', retryMs: jittered(spreadMs, 0, 1) };
  const identity = await known(authority.identify(ticket));
  if (identity === undefined) return false;
  // Its client comes back, and is told which room it is.
  return (
    rooms.every((room) => mayEnter(identity, roomNameOf(room))) || {
      code: 'rights_changed',
      retryMs: COME_BACK_MS,
    }
  );
}
