import type { Request, Response } from 'express';
import { z } from 'zod';
import { withLists } from '../chat/claims-draft.ts';
import { parse } from '../chat/parsing.ts';
import { parseRoomDraft, parseRoomName, roomKey } from '../chat/rooms.ts';
import { vouchedId } from '../chat/users.ts';
import type { UserKey } from '../log/keys.ts';
import { whenReachable } from '../log/unreachable.ts';
import { keyOf } from './api-key.ts';
import type { Service } from './service.ts';

const MAX_MEMBERS_A_REQUEST = 500;

const ids = z
  .array(vouchedId, 'must be a list of user ids')
  .max(MAX_MEMBERS_A_REQUEST, `must name at most ${MAX_MEMBERS_A_REQUEST}`)
  .default([]);
const membersDraft = z.strictObject({ add: ids, remove: ids, site: z.string().optional() });

/** `POST /api/rooms {room, title?}` with an API key: creates a room, which nobody is a member of yet. Safe to repeat. */
export function createRoomByHost({ shardOf }: Service) {
  return async (req: Request, res: Response): Promise<void> => {
    const { room, title } = parseRoomDraft(req.body ?? {});
    const { site, id } = keyOf(res);
    const { rooms } = shardOf(site);
    const isNew = await whenReachable(rooms.createOnce(site, room, title, `key:${id}`));
    res
      .status(isNew ? 201 : 200)
      .json(await whenReachable(rooms.view(roomKey(site, room), `${site}/key:${id}`)));
  };
}

/**
 * `POST /api/rooms/:room/close` with an API key: from now on the room can only be read, which its readers are told. Safe to
 * repeat, also where the answer was `unsure`.
 */
export function closeRoom({ shardOf }: Service) {
  return async (req: Request, res: Response): Promise<void> => {
    const { site, id } = keyOf(res);
    const key = roomKey(site, parseRoomName(req.params['room']));
    const { rooms, appender } = shardOf(site);
    await whenReachable(rooms.close(key));
    await appender.announce(`room:${key}`, 'closed');
    res.json(await whenReachable(rooms.view(key, `${site}/key:${id}`)));
  };
}

/** `POST /api/rooms/:room/members {add?, remove?}` with an API key: memberships for good, or their end. Safe to repeat. */
export function setMembers({ shardOf }: Service) {
  return async (req: Request, res: Response): Promise<void> => {
    const { site, id } = keyOf(res);
    const key = roomKey(site, parseRoomName(req.params['room']));
    const { add, remove } = parse(membersDraft, withLists(req.body ?? {}, ['add', 'remove']));
    const { rooms, presence } = shardOf(site);
    const userKey = (user: string): UserKey => `${site}/${user}`;
    await whenReachable(rooms.mustExist([key]));
    for (const user of add) await whenReachable(rooms.join(key, userKey(user), Number.POSITIVE_INFINITY));
    for (const user of remove) {
      await whenReachable(rooms.leave(key, userKey(user)));
      await whenReachable(presence.drop(userKey(user), [key]));
    }
    res.json(await whenReachable(rooms.view(key, `${site}/key:${id}`)));
  };
}
