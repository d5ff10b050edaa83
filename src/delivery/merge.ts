import { formatCursor } from '../chat/cursors.ts';
import type { GapNotice, GapReason } from '../chat/entries.ts';
import { compareIds, earlierId, type StreamId } from '../chat/ids.ts';
import { type RoomKey, roomNameOf } from '../chat/rooms.ts';
import type { RoomPage } from '../log/read.ts';
import { Frame } from './frame.ts';
import { Run } from './run.ts';
import type { Window } from './window.ts';

/** A `gap` in its encoded form; `cursor` only on the last of several that go on from the same place. */
export function gapFrame(
  room: RoomKey,
  after: string,
  oldest: StreamId | undefined,
  reason: GapReason,
  cursor?: string,
): Frame {
  const notice: GapNotice = { kind: 'gap', room: roomNameOf(room), after, oldest: oldest ?? null, reason };
  return new Frame('gap', JSON.stringify(notice), { cursor });
}

/**
 * Several rooms' pages after a cursor as one run, by id. It ends no further than the lowest last id among rooms whose
 * page was cut, and at about `maxBytes`. A room trimmed beyond the cursor, unless the window holds all of it after that,
 * has its `gap` where its floor would stand, but before every place from which a window is likely to go on, which knows of no
 * floors: whoever is cut off and comes back from there, to this process or another, must have been told. A gap that comes
 * before its floor's place comes again in the next run, if that too begins before the floor.
 */
export function mergePages(
  pages: readonly RoomPage[],
  { after, end, maxBytes, window }: { after: StreamId; end: StreamId; maxBytes: number; window: Window },
): Run {
  let upTo = end;
  const told: { id: StreamId; trimmed?: RoomPage; frame: () => Frame }[] = [];
  for (const page of pages) {
    const last = page.entries.at(-1);
    if (page.isCut && last !== undefined) upTo = earlierId(upTo, last.id);
    for (const entry of page.entries)
      told.push({ id: entry.id, frame: () => window.frameOf(page.room, entry) });
  }
  const from = formatCursor(window.epoch, after);
  const isMissing = ({ room, floor }: RoomPage): boolean =>
    compareIds(after, floor) < 0 && !window.holdsAllOf(room, after);
  const trimmed = new Set(pages.filter(isMissing));
  const gapOf = ({ room, oldest }: RoomPage, id?: StreamId): Frame =>
    gapFrame(room, from, oldest, 'trimmed', id && formatCursor(window.epoch, id));
  for (const page of trimmed) {
    // A floor beyond the end is told at the end: there the cursor stops, and the window is all that is read.
    const id = earlierId(page.floor, end);
    told.push({ id, trimmed: page, frame: () => gapOf(page, id) });
  }
  told.sort((a, b) => compareIds(a.id, b.id));
  const frames: Frame[] = [];
  let bytes = 0;
  let reached = after;
  for (const { id, trimmed: page, frame } of told) {
    if (compareIds(id, upTo) > 0) break;
    // Told before.
    if (page !== undefined && !trimmed.has(page)) continue;
    const owed = trimmed.size > 0 && window.anyReachesBackTo(id) ? [...trimmed] : [];
    const next = [...owed.filter((other) => other !== page).map((other) => gapOf(other)), frame()];
    const length = next.reduce((sum, each) => sum + each.length, 0);
    if (frames.length > 0 && id !== reached && bytes + length > maxBytes) return new Run(frames, reached);
    for (const one of page === undefined ? owed : [...owed, page]) trimmed.delete(one);
    frames.push(...next);
    bytes += length;
    reached = id;
  }
  return new Run(frames, upTo);
}
