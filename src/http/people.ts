import type { Request, Response } from 'express';
import { parseRoomName } from '../chat/rooms.ts';
import { whenReachable } from '../log/unreachable.ts';
import { openRoom } from './rights.ts';
import type { Service } from './service.ts';

/** `GET /api/rooms/:room/people`: `{people, count, listed, cursor}`: who is here, and where what is told of it goes on. */
export function tellPeople({ authority, shardOf }: Service) {
  return async (req: Request, res: Response): Promise<void> => {
    const room = parseRoomName(req.params['room']);
    const identity = await authority.identify(authority.ticketOf(req));
    const { rooms, presence } = shardOf(identity.site);
    const key = openRoom(identity, room);
    await whenReachable(rooms.mustExist([key]));
    res.json(await whenReachable(presence.list(key)));
  };
}
