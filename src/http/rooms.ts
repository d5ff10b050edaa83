import type { Request, Response } from 'express';
import { parseRoomDraft, parseRoomName, type RoomKey } from '../chat/rooms.ts';
import { whenReachable } from '../log/unreachable.ts';
import type { Identity } from './authority.ts';
import { mayEnter, openRoom } from './rights.ts';
import type { Service } from './service.ts';

/** `GET /api/rooms`: all rooms of the site that are open to one, by name. */
export function listRooms({ authority, shardOf }: Service) {
  return async (req: Request, res: Response): Promise<void> => {
    const identity = await authority.identify(authority.ticketOf(req));
    const { site, userKey } = identity;
    const all = await whenReachable(shardOf(site).rooms.list(site, userKey));
    res.json({ rooms: all.filter(({ room }) => mayEnter(identity, room)) });
  };
}

/** `GET /api/rooms/:room`: one room. */
export function tellRoom({ authority, shardOf }: Service) {
  return async (req: Request, res: Response): Promise<void> => {
    const room = parseRoomName(req.params['room']);
    const identity = await authority.identify(authority.ticketOf(req));
    const key = openRoom(identity, room);
    res.json(await whenReachable(shardOf(identity.site).rooms.view(key, identity.userKey)));
  };
}

/** `POST /api/rooms {room, title?}`: creates a room, and makes its creator a member. Paced like posts. */
export function createRoom({ authority, shardOf, pace }: Service) {
  return async (req: Request, res: Response): Promise<void> => {
    const { room, title } = parseRoomDraft(req.body ?? {});
    const ticket = authority.ticketOf(req);
    const identity = await authority.identify(ticket);
    const { site, userKey, memberMs } = identity;
    const key = openRoom(identity, room);
    await pace.count(userKey);
    const { rooms } = shardOf(site);
    await whenReachable(rooms.create(site, room, title, identity.user.id));
    await whenReachable(rooms.join(key, userKey, Date.now() + memberMs));
    res.status(201).json(await whenReachable(rooms.view(key, userKey)));
  };
}

/** `POST /api/rooms/:room/join` and `/leave`: begins or ends a membership. Safe to repeat. */
export function changeMembership(service: Service, change: 'join' | 'leave') {
  return async (req: Request, res: Response): Promise<void> => {
    const room = parseRoomName(req.params['room']);
    const identity = await service.authority.identify(service.authority.ticketOf(req));
    const key = openRoom(identity, room);
    await setMembership(service, identity, key, change);
    res.json(await whenReachable(service.shardOf(identity.site).rooms.view(key, identity.userKey)));
  };
}

/** Begins or ends a membership; with it presence ends. Refusal: `too_fast`, since a going is told to the whole room. */
export async function setMembership(
  { shardOf, presencePace }: Service,
  { site, userKey, memberMs }: Identity,
  room: RoomKey,
  change: 'join' | 'leave',
): Promise<void> {
  const { rooms, presence } = shardOf(site);
  if (change === 'leave') await presencePace.count(userKey);
  await whenReachable(
    change === 'join' ? rooms.join(room, userKey, Date.now() + memberMs) : rooms.leave(room, userKey),
  );
  if (change === 'leave') await whenReachable(presence.drop(userKey, [room]));
}
