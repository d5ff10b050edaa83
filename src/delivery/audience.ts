import type { RoomKey } from '../chat/rooms.ts';
import type { SiteName } from '../chat/sites.ts';
import type { Address } from '../log/keys.ts';
import type { Reader, Surroundings } from './reader.ts';
import { type Encoding, NO_BYTES, RUN_BYTES, type Run } from './run.ts';
import type { Read } from './window.ts';

/** What runs are written to. */
export interface Out {
  write(bytes: Buffer): boolean;
}

/**
 * The way past a sink that does nothing with what it is told but encode and write it, nor with being level. As soon as its socket is
 * full, of whatever, the sink must call `reader.slowed()`.
 */
export interface Wire {
  readonly out: Out;
  readonly encoding: Encoding;
  /** `out.write` has answered false, after it was told past the sink. */
  filled(): void;
}

/** A place in an audience. In that of its first room a reader is its own, in others it has further ones. */
export interface Seat {
  readonly reader: Reader;
  readonly audience: Audience;
  index: number;
}

/** What a reader is to be told: written out, or by itself. */
export interface Told {
  readonly reader: Reader;
  readonly run: Run;
  readonly out: Out | undefined;
  readonly bytes: Buffer;
}

/** What there is of a site in this process. */
export interface SiteReaders {
  readonly site: SiteName;
  /** Of the rooms that somebody reads. */
  readonly audiences: Set<Audience>;
  /** How many of their readers are guests. */
  guests: number;
}

/**
 * Those who read one room in this process. Most read no other, have been told all there was, and have a wire: these sit, and are told
 * from here, without what their readers do to go on by themselves and without their sinks. To tell thousands in a calm room is mostly
 * to fetch from memory what it takes to tell each.
 */
export class Audience {
  readonly address: Address;
  readonly site: SiteReaders;
  /** This room alone: one list for all who read no other. */
  readonly rooms: readonly RoomKey[];
  /** When any of those who sit was last told anything, in whole `performance.now()` milliseconds. */
  toldAt = 0;
  readonly #seats: Seat[] = [];
  /** Of the round under way: so many of the first are to hear its news, and so many of these have. Whoever comes meanwhile isn't. */
  #due = 0;
  #heard = 0;
  #sitting = 0;

  constructor(room: RoomKey, site: SiteReaders) {
    this.site = site;
    this.address = `room:${room}`;
    this.rooms = [room];
  }

  get isEmpty(): boolean {
    return this.#seats.length === 0;
  }

  /** Whether nobody is left to hear the news of the round under way. */
  get hasHeard(): boolean {
    return this.#heard === this.#due;
  }

  /** Whether all of them sit. */
  get allSit(): boolean {
    return this.#sitting === this.#seats.length;
  }

  /** Those for whom this is the first of their rooms, so that nobody is found twice. */
  *readers(): Iterable<Reader> {
    for (const seat of this.#seats) if (seat === seat.reader) yield seat.reader;
  }

  enter(seat: Seat): void {
    seat.index = this.#seats.length;
    this.#seats.push(seat);
  }

  /** Its reader stands. Its place is taken by the last of those who have heard the news, theirs by the last who is to, theirs by the last of all. */
  leave(seat: Seat): void {
    let gap = seat.index;
    if (gap < this.#heard) gap = this.#fill(gap, --this.#heard);
    if (gap < this.#due) gap = this.#fill(gap, --this.#due);
    this.#fill(gap, this.#seats.length - 1);
    this.#seats.pop();
  }

  /** Answers where the gap is then. */
  #fill(gap: number, from: number): number {
    if (gap === from) return gap;
    const seat = this.#seats[from] as Seat;
    this.#seats[gap] = seat;
    seat.index = gap;
    return from;
  }

  /** From now on the reader, who has been told all there was and reads no other room, is told from here. */
  sit(reader: Reader, { out, encoding }: Wire): void {
    if (reader.out === undefined) this.#sitting++;
    reader.encoding = encoding;
    reader.out = out;
  }

  /** From now on the reader is told by itself. */
  stand(reader: Reader): void {
    if (reader.out === undefined) return;
    this.#sitting--;
    reader.out = undefined;
  }

  beginRound(): void {
    this.#due = this.#seats.length;
    this.#heard = 0;
  }

  /**
   * Finds out what those are to be told who haven't heard the news, of at most so many of them, which then counts as told: whoever
   * asks must see to it at once. Answers how many they were.
   */
  hear(most: number, around: Surroundings, told: Told[]): number {
    const { window, level } = around;
    let heard = 0;
    let from = -1;
    let read: Read | undefined;
    let hasTold = false;
    for (; heard < most && !this.hasHeard; heard++) {
      const { reader } = this.#seats[this.#heard++] as Seat;
      try {
        const { out } = reader;
        if (out !== undefined) {
          // Nothing up to there was for it.
          if (reader.position < level.position) {
            reader.position = level.position;
            reader.toldId = level.id;
          }
          if (reader.position === window.position) continue;
          if (reader.position !== from) {
            read = this.#readAll(reader, around);
            from = reader.position;
          }
          if (read !== undefined) {
            const { run, position } = read;
            if (run.frames.length > 0) {
              told.push({ reader, run, out, bytes: run.as(reader.encoding) });
              hasTold = true;
            }
            reader.position = position;
            reader.toldId = run.end;
            continue;
          }
        }
        const run = reader.hear();
        if (run !== undefined) told.push({ reader, run, out: undefined, bytes: NO_BYTES });
      } catch (error) {
        around.failed(error, reader);
      }
    }
    if (hasTold) this.toldAt = Math.trunc(performance.now());
    return heard;
  }

  /** All that follows, if that is one run. */
  #readAll({ position, toldId }: Reader, { window }: Surroundings): Read | undefined {
    if (!window.reachesBackTo(toldId)) return undefined;
    const read = window.read(position, this.rooms, RUN_BYTES);
    return read.position === window.position ? read : undefined;
  }
}
