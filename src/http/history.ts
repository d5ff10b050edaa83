import type { Request, Response } from 'express';
import { formatCursor, parseCursor } from '../chat/cursors.ts';
import { entryJson } from '../chat/entries.ts';
import { parseStreamId, type StreamId } from '../chat/ids.ts';
import { Refusal } from '../chat/refusals.ts';
import { parseRoomName } from '../chat/rooms.ts';
import type { Direction } from '../log/read.ts';
import { whenReachable } from '../log/unreachable.ts';
import { numberOf, parametersOf } from './reading-request.ts';
import { openRoom } from './rights.ts';
import type { Service } from './service.ts';

const PAGE = { min: 1, max: 200, otherwise: 50 };
const ANSWER_BYTES = 47 * 1024;

/**
 * `GET /api/rooms/:room/messages?before=|after=&limit=`: `{events, cursor, more, floor}`, oldest first. `cursor` is the
 * journal's end, read together with the page: who follows from it misses nothing. `more`: in the direction read.
 */
export function tellHistory({ authority, shardOf }: Service) {
  return async (req: Request, res: Response): Promise<void> => {
    const room = parseRoomName(req.params['room']);
    const parameters = parametersOf(req);
    const direction = directionOf(parameters);
    const limit = Math.floor(numberOf(parameters, 'limit', PAGE));
    const identity = await authority.identify(authority.ticketOf(req));
    const { rooms, history } = shardOf(identity.site);
    const key = openRoom(identity, room);
    await whenReachable(rooms.mustExist([key]));
    const page = await whenReachable(history.history(key, direction, limit));
    const all = page.entries.map((entry) => entryJson(room, entry));
    const events = within(ANSWER_BYTES, all, 'after' in direction);
    const more = page.hasMore || events.length < all.length;
    const cursor = formatCursor(page.facts.epoch, page.facts.last);
    res
      .type('json')
      .send(`{"events":[${events.join(',')}],"cursor":"${cursor}","more":${more},"floor":"${page.floor}"}`);
  };
}

function directionOf(parameters: URLSearchParams): Direction {
  const [before, after] = ['before', 'after'].map((name) => idOf(parameters, name));
  if (before !== undefined && after !== undefined) {
    throw new Refusal('invalid_field', 'before and after can’t be given together.', { field: 'before' });
  }
  if (after !== undefined) return { after };
  return before === undefined ? {} : { before };
}

/** An id, or the id of a cursor. */
function idOf(parameters: URLSearchParams, name: string): StreamId | undefined {
  const text = parameters.get(name);
  if (text === null || text === '') return undefined;
  const id = parseStreamId(text) ?? parseCursor(text)?.id;
  if (id === undefined)
    throw new Refusal('invalid_field', `${name} must be an id or a cursor.`, { field: name });
  return id;
}

/** As many as fit: the first ones if read forwards, else the last. One always does. */
function within(maxBytes: number, events: string[], isForwards: boolean): string[] {
  const ordered = isForwards ? events : events.toReversed();
  let bytes = 0;
  const fitting = ordered.filter((event, i) => {
    bytes += Buffer.byteLength(event) + 1;
    return bytes <= maxBytes || i === 0;
  });
  return isForwards ? fitting : fitting.reverse();
}
