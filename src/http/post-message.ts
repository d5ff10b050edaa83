import type { Request, Response } from 'express';
import { idTime, type StreamId } from '../chat/ids.ts';
import { type Draft, parseDraft } from '../chat/messages.ts';
import { Refusal } from '../chat/refusals.ts';
import { parseRoomName, type RoomName } from '../chat/rooms.ts';
import { withoutCommand } from '../log/logger.ts';
import { answerJson } from './answer-json.ts';
import type { Ticket } from './authority.ts';
import { openRoom } from './rights.ts';
import type { Service } from './service.ts';

/**
 * `POST /api/rooms/:room/messages {text, clientId?, user?}`: 201 `{id, at}`; the same `clientId` and text again: 200 with the
 * same id.
 */
export function postMessage(service: Service) {
  return async (req: Request, res: Response): Promise<void> => {
    const room = parseRoomName(req.params['room']);
    const draft = parseDraft(req.body ?? {}, req.get('idempotency-key'));
    const { id, isNew } = await post(service, service.authority.ticketOf(req), room, draft);
    answerJson(res, isNew ? 201 : 200, { id, at: idTime(id) });
  };
}

/** Appends a draft, paced. Nobody is told here: even this process' readers hear it from the journal. */
export async function post(
  { authority, counts, shardOf, log }: Service,
  ticket: Ticket,
  room: RoomName,
  draft: Draft,
): Promise<{ id: StreamId; isNew: boolean }> {
  const identity = await authority.identify(ticket);
  if (draft.user !== undefined && draft.user !== identity.user.id)
    throw new Refusal('other_user', 'Somebody else is logged in than who wrote this.', { field: 'user' });
  const key = openRoom(identity, room);
  const { site, userKey, user } = identity;
  const posted = await shardOf(site).appender.post(key, userKey, user, draft);
  counts.posts[posted.isNew ? 'accepted' : 'repeated']++;
  if (posted.isNew) counts.postsBy[user.guest ? 'guest' : 'known']++;
  authority
    .renew(ticket, identity)
    .catch((error) => log.warn({ err: withoutCommand(error) }, 'a session wasn’t renewed'));
  return posted;
}
