import type { Request, Response } from 'express';
import { idTime } from '../chat/ids.ts';
import { parseDraft } from '../chat/messages.ts';
import { parseRoomName, roomKey } from '../chat/rooms.ts';
import type { Service } from './service.ts';

/**
 * `POST /api/rooms/:room/messages {text, clientId?}`: 201 `{id, at}`; the same `clientId` and text again: 200 with the
 * same id. Nobody is told here: even this process' readers hear it from the journal.
 */
export function postMessage({ authority, pace, appender, log }: Service) {
  return async (req: Request, res: Response): Promise<void> => {
    const room = parseRoomName(req.params['room']);
    const draft = parseDraft(req.body ?? {}, req.get('idempotency-key'));
    const ticket = authority.ticketOf(req);
    const identity = await authority.identify(ticket);
    await pace.count(identity.userKey);
    const { id, isNew } = await appender.post(
      roomKey(identity.site, room),
      identity.userKey,
      identity.user,
      draft,
    );
    res.status(isNew ? 201 : 200).json({ id, at: idTime(id) });
    authority.renew(ticket, identity).catch((error) => log.warn({ err: error }, 'a session wasn’t renewed'));
  };
}
