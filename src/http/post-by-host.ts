import type { Request, Response } from 'express';
import { parseHostPost } from '../chat/host-post.ts';
import { idTime } from '../chat/ids.ts';
import { parseRoomName, roomKey } from '../chat/rooms.ts';
import { answerJson } from './answer-json.ts';
import { keyOf } from './api-key.ts';
import { userKeyOf } from './authority.ts';
import type { Service } from './service.ts';

/**
 * `POST /api/rooms/:room/messages {text, as?, name?, clientId?}` with an API key: as `postMessage`, but by the system or
 * a bot. A `clientId` is one of whom it is posted as.
 */
export function postByHost({ shardOf, counts }: Service) {
  return async (req: Request, res: Response): Promise<void> => {
    const room = parseRoomName(req.params['room']);
    const { site, name } = keyOf(res);
    const { by, draft } = parseHostPost(req.body ?? {}, name, req.get('idempotency-key'));
    const { id, isNew } = await shardOf(site).appender.post(
      roomKey(site, room),
      userKeyOf(site, by),
      by,
      draft,
      // The key is paced.
      'unpaced',
    );
    counts.posts[isNew ? 'accepted' : 'repeated']++;
    answerJson(res, isNew ? 201 : 200, { id, at: idTime(id) });
  };
}
