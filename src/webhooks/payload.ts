import { entryJson } from '../chat/entries.ts';
import type { Hook } from '../chat/hooks.ts';
import { idTime, streamId } from '../chat/ids.ts';
import { type RoomKey, roomNameOf, siteOf } from '../chat/rooms.ts';
import type { JournalEntry } from '../log/journal.ts';
import type { OwedGap } from '../log/journal-group.ts';

/** What a receiver is told in one call. The same event has the same `id`, however often it is told. */
export interface Payload {
  readonly id: string;
  readonly type: string;
  readonly body: string;
}

/** What the webhook is told of an entry; undefined if it isn't. [spec] Standard Webhooks, "Payload structure". */
export function payloadOf({ site, events }: Hook, entry: JournalEntry): Payload | undefined {
  const { id, kind, to } = entry;
  const isWanted = (events as readonly string[]).includes(kind) && to.startsWith(`room:${site}/`);
  if (!isWanted) return undefined;
  const room = to.slice('room:'.length) as RoomKey;
  const data = entryJson(roomNameOf(room), entry);
  return { id: `evt_${id}`, type: kind, body: bodyOf(kind, siteOf(room), idTime(id), data) };
}

/** Events up to an id may be missing: they left the journal before the receiver took them, or its place there was lost. */
export function gapPayload({ site }: Hook, { upTo, reason }: OwedGap): Payload {
  const data = JSON.stringify({ kind: 'gap', reason, upTo });
  return { id: `gap_${upTo}`, type: 'gap', body: bodyOf('gap', site, idTime(streamId(upTo)), data) };
}

function bodyOf(type: string, site: string, at: number, data: string): string {
  return `{"type":"${type}","timestamp":"${new Date(at).toISOString()}","site":"${site}","data":${data}}`;
}
