import { formatCursor, parseCursor } from '../chat/cursors.ts';
import type { LoggedEntry } from '../chat/entries.ts';
import { entryJson, isTransient } from '../chat/entries.ts';
import { compareIds, idTime, type StreamId, ZERO_ID } from '../chat/ids.ts';
import { type RoomKey, roomNameOf } from '../chat/rooms.ts';
import type { JournalEnd, JournalEntry } from '../log/journal.ts';
import { Frame } from './frame.ts';
import { Run } from './run.ts';

/** An entry in the window. Positions count on and on, so that a reader's place is one number. */
interface Item {
  readonly position: number;
  readonly id: StreamId;
  readonly room: RoomKey | undefined;
  readonly bytes: number;
  /** The id of the room's entry before it; of one that the room's log keeps. */
  readonly prev: StreamId | undefined;
  /** Until when it is of use, in `performance.now()` milliseconds. */
  readonly freshUntil: number;
  /** What it is made of, until somebody here is told it: most of what a process hears may be for readers of others. */
  entry: LoggedEntry | undefined;
  frame: Frame | undefined;
}

/** So many places that are empty are worth no copying. */
const SLACK = 16;

/** A list whose oldest items leave, and are let go of, without the rest being moved each time. */
class Queue {
  #items: (Item | undefined)[] = [];
  #head = 0;
  /** The latest runs read from here, so that readers in the same place share them. */
  readonly runs: SharedRun[] = [];

  get length(): number {
    return this.#items.length - this.#head;
  }

  at(index: number): Item | undefined {
    return this.#items[this.#head + index];
  }

  push(item: Item): void {
    this.#items.push(item);
  }

  shift(): Item | undefined {
    const item = this.#items[this.#head];
    this.#items[this.#head++] = undefined;
    if (this.#head > SLACK && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }

  /** The index of the first item for which `isAfter` holds, all later ones being after too. */
  firstIndex(isAfter: (item: Item) => boolean): number {
    let low = 0;
    let high = this.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (isAfter(this.at(middle) as Item)) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

/** What a reader is told next, the place it leads to, and until when nothing of it has gone stale. */
export interface Read {
  readonly run: Run;
  readonly position: number;
  readonly freshUntil: number;
}

/** What was read from a place, when the window ended at `to`. */
interface SharedRun extends Read {
  readonly from: number;
  readonly to: number;
  readonly maxBytes: number;
}

/** A place in the journal: a position in the window, and the id of the last entry before it. */
export interface Place {
  readonly position: number;
  readonly id: StreamId;
}

/** Where an id stands, and whether it is one that the window knows of. */
interface Found extends Place {
  readonly isKnown: boolean;
  readonly cursor: string;
}

interface Bounds {
  readonly windowEntries: number;
  readonly windowBytes: number;
}

const SHARED_RUNS = 64;
/** A transient entry that a reader is told later than this would only mislead it. */
const FRESH_MS = 30_000;
/** A tail that is further behind is stuck: a process that hears so little serves hardly anybody who comes. */
const OTHERS_BEHIND_MS = 60_000;
/** Beside its data: the item, what the frame adds, and what they are in V8's memory. */
const ITEM_OVERHEAD_BYTES = 600;

/**
 * The recent end of the journal in this process's memory: all of `(start, end]`, by room, encoded once it is told.
 * Bounded in entries and bytes; what has left it is read from the room logs.
 */
export class Window {
  readonly #bounds: Bounds;
  #all = new Queue();
  #lanes = new Map<RoomKey, Queue>();
  #sharing: Queue[] = [];
  #bytes = 0;
  #position = 0;
  #epoch = '';
  #start: StreamId = ZERO_ID;
  #end: StreamId = ZERO_ID;
  #reached: StreamId | undefined;
  /** The place that was looked up last: whoever comes back after a fault stands where most others do. */
  #found: Found | undefined;
  /** The cursor that was asked for last: in a calm room that of everybody. */
  #lastCursor: { readonly id: StreamId; readonly cursor: string } | undefined;

  constructor(bounds: Bounds) {
    this.#bounds = bounds;
  }

  get epoch(): string {
    return this.#epoch;
  }

  /** The id that the oldest entry in the window follows. */
  get start(): StreamId {
    return this.#start;
  }

  get end(): StreamId {
    return this.#end;
  }

  /** The place after the newest entry. */
  get position(): number {
    return this.#position;
  }

  /** The place at the window's end. */
  get endPlace(): Place {
    return { position: this.#position, id: this.#end };
  }

  /** Entries held, and about how many bytes they take. */
  get size(): { readonly entries: number; readonly bytes: number } {
    return { entries: this.#all.length, bytes: this.#bytes };
  }

  /** Begins anew. Positions go on, so a place from before is behind everything. */
  refill({ epoch, start, last, entries }: JournalEnd): void {
    this.#all = new Queue();
    this.#lanes = new Map();
    this.#sharing = [];
    this.#bytes = 0;
    this.#epoch = epoch;
    this.#start = this.#end = start;
    this.#reached = undefined;
    this.#found = undefined;
    this.#lastCursor = undefined;
    // Only here are an entry's id and this machine's clock compared: when it was read says nothing of its age.
    for (const entry of entries) this.push(entry, Math.max(0, Date.now() - idTime(entry.id)));
    this.#end = last;
  }

  push(entry: JournalEntry, ageMs = 0): void {
    const room = entry.to.startsWith('room:') ? (entry.to.slice('room:'.length) as RoomKey) : undefined;
    const bytes = ITEM_OVERHEAD_BYTES + (room === undefined ? 0 : sizeOf(entry.data));
    const freshUntil = isTransient(entry) ? performance.now() - ageMs + FRESH_MS : Number.POSITIVE_INFINITY;
    const item: Item = {
      position: ++this.#position,
      id: entry.id,
      room,
      bytes,
      prev: room === undefined || isTransient(entry) ? undefined : entry.prev,
      freshUntil,
      entry: room === undefined ? undefined : entry,
      frame: undefined,
    };
    this.#all.push(item);
    this.#bytes += bytes;
    if (room !== undefined) {
      let lane = this.#lanes.get(room);
      if (lane === undefined) {
        lane = new Queue();
        this.#lanes.set(room, lane);
      }
      lane.push(item);
    }
    this.#end = entry.id;
    while (this.#all.length > this.#bounds.windowEntries || this.#bytes > this.#bounds.windowBytes)
      this.#drop();
  }

  #drop(): void {
    const item = this.#all.shift();
    if (item === undefined) return;
    this.#bytes -= item.bytes;
    this.#start = item.id;
    this.#reached = undefined;
    this.#found = undefined;
    if (item.room === undefined) return;
    const lane = this.#lanes.get(item.room);
    lane?.shift();
    if (lane?.length === 0) this.#lanes.delete(item.room);
  }

  /** Encoded when it is told for the first time, and once. */
  #frameOf(item: Item): Frame {
    const { room, entry } = item;
    if (item.frame === undefined) {
      item.frame = this.frameOf(room as RoomKey, entry as LoggedEntry);
      item.entry = undefined;
    }
    return item.frame;
  }

  /** An entry of a room in its encoded form. */
  frameOf(room: RoomKey, entry: LoggedEntry): Frame {
    return new Frame(entry.kind, entryJson(roomNameOf(room), entry), {
      cursor: formatCursor(this.#epoch, entry.id),
      retryMs: undefined,
      isKept: true,
    });
  }

  /** Whether all after `id`, up to the window's end, is in the window. */
  reachesBackTo(id: StreamId): boolean {
    if (id === this.#reached) return true;
    const reaches = compareIds(id, this.#start) >= 0;
    if (reaches) this.#reached = id;
    return reaches;
  }

  /**
   * Whether some process' window is likely to reach back to `id`: another's tail may be behind, or its window be set larger.
   * It is taken to begin earlier than this one by a minute, or by as long as this one is if that is more.
   */
  anyReachesBackTo(id: StreamId): boolean {
    const length = idTime(this.#end) - idTime(this.#start);
    return idTime(id) >= idTime(this.#start) - Math.max(OTHERS_BEHIND_MS, length);
  }

  /** Whether all that the room's log ever kept after `id` is in the window: its first entry there follows `id`, or what came before. */
  holdsAllOf(room: RoomKey, id: StreamId): boolean {
    const lane = this.#lanes.get(room);
    for (let i = 0; lane !== undefined && i < lane.length; i++) {
      const prev = lane.at(i)?.prev;
      if (prev !== undefined) return compareIds(prev, id) <= 0;
    }
    return false;
  }

  /** Where a cursor stands if its very id is one that the window knows of: then Redis needn't be asked about it. */
  placeOf(cursor: string): Place | undefined {
    if (this.#found?.cursor === cursor && this.#found.isKnown) return this.#found;
    const asked = parseCursor(cursor);
    if (asked === undefined || asked.epoch !== this.#epoch) return undefined;
    const found = this.#find(asked.id);
    return found.isKnown ? found : undefined;
  }

  /** The cursor of a reader who has been told everything up to `id`: the same text for those who ask for it one after the other. */
  cursorAt(id: StreamId): string {
    if (id !== this.#lastCursor?.id) this.#lastCursor = { id, cursor: formatCursor(this.#epoch, id) };
    return this.#lastCursor.cursor;
  }

  /** The place of a reader who has been told everything up to `id`. */
  positionAfter(id: StreamId): number {
    return this.#find(id).position;
  }

  #find(id: StreamId): Found {
    if (this.#found?.id === id) return this.#found;
    const index = this.#all.firstIndex((item) => compareIds(item.id, id) > 0);
    const found = {
      id,
      position: (this.#all.at(index)?.position ?? this.#position + 1) - 1,
      isKnown: id === this.#start || id === this.#end || (index > 0 && this.#all.at(index - 1)?.id === id),
      cursor: formatCursor(this.#epoch, id),
    };
    // Of one that lies ahead, what comes next may be before it.
    if (compareIds(id, this.#end) <= 0) this.#found = found;
    return found;
  }

  /**
   * What the rooms' readers at `from` are told next, at most about `maxBytes` (but one frame at least), and the place
   * it leads to. `from` must not lie before the window.
   */
  read(from: number, rooms: readonly RoomKey[], maxBytes: number): Read {
    const only = rooms.length === 1 ? this.#lanes.get(rooms[0] as RoomKey) : undefined;
    if (only !== undefined) {
      // A loop, since this is asked for each reader: a function for `find` would have to be made each time.
      for (const known of only.runs) if (this.#isCurrent(known, from, maxBytes)) return known;
    }
    const read = this.#merge(from, rooms, maxBytes, performance.now());
    if (only !== undefined && read.run.frames.length > 0)
      this.#share(only, { from, to: this.#position, maxBytes, ...read });
    return read;
  }

  /** Whether what was read once is what would be read now. */
  #isCurrent(known: SharedRun, from: number, maxBytes: number): boolean {
    return (
      known.from === from &&
      known.to === this.#position &&
      known.maxBytes === maxBytes &&
      (known.freshUntil === Number.POSITIVE_INFINITY || known.freshUntil > performance.now())
    );
  }

  #share(lane: Queue, known: SharedRun): void {
    lane.runs.push(known);
    this.#sharing.push(lane);
    if (this.#sharing.length > SHARED_RUNS) this.#sharing.shift()?.runs.shift();
  }

  #merge(from: number, rooms: readonly RoomKey[], maxBytes: number, now: number): Read {
    const next = this.#itemsAfter(from, rooms);
    const frames: Frame[] = [];
    let bytes = 0;
    let last: Item | undefined;
    let freshUntil = Number.POSITIVE_INFINITY;
    for (let item = next(); item !== undefined; item = next()) {
      if (item.freshUntil <= now) continue;
      const frame = this.#frameOf(item);
      if (last !== undefined && bytes + frame.length > maxBytes) {
        return { run: new Run(frames, last.id), position: last.position, freshUntil };
      }
      frames.push(frame);
      bytes += frame.length;
      last = item;
      freshUntil = Math.min(freshUntil, item.freshUntil);
    }
    return { run: new Run(frames, this.#end), position: this.#position, freshUntil };
  }

  /** Each call answers the next item of the rooms behind `from`, and undefined when there is none. */
  #itemsAfter(from: number, rooms: readonly RoomKey[]): () => Item | undefined {
    const heads: { readonly lane: Queue; index: number }[] = [];
    for (const room of rooms) {
      const lane = this.#lanes.get(room);
      if (lane !== undefined) heads.push({ lane, index: lane.firstIndex((item) => item.position > from) });
    }
    const [only] = heads;
    if (only !== undefined && heads.length === 1) return () => only.lane.at(only.index++);
    return () => {
      let first: (typeof heads)[number] | undefined;
      let item: Item | undefined;
      for (const head of heads) {
        const candidate = head.lane.at(head.index);
        if (candidate !== undefined && (item === undefined || candidate.position < item.position)) {
          first = head;
          item = candidate;
        }
      }
      if (first !== undefined) first.index++;
      return item;
    };
  }
}

/** V8 keeps two bytes a character as soon as one of them isn't Latin-1; encoded it may be three. */
function sizeOf(text: string): number {
  const bytes = Buffer.byteLength(text);
  return bytes === text.length ? bytes : Math.max(bytes, 2 * text.length);
}
