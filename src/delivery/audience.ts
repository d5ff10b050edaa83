import { type StreamId, ZERO_ID } from '../chat/ids.ts';
import type { RoomKey } from '../chat/rooms.ts';
import type { Address } from '../log/keys.ts';
import type { Place, Reader, Surroundings } from './reader.ts';
import { type Encoding, RUN_BYTES, type Run } from './run.ts';
import type { Read } from './window.ts';

interface Out {
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

/** A reader's place in an audience. */
export interface Seat {
  readonly audience: Audience;
  readonly reader: Reader;
  index: number;
  /** While the reader sits: where its runs are written to, past it and its sink, in which form, … */
  out: Out | undefined;
  encoding: Encoding;
  /** … and the place that it has reached, whatever the reader itself still says. */
  position: number;
  id: StreamId;
}

/** What a reader is to be told: written out, or by itself. */
export interface Told {
  readonly reader: Reader;
  readonly run: Run;
  readonly out: Out | undefined;
  readonly bytes: Buffer;
}

const NOTHING: Encoding = () => NO_BYTES;
const NO_BYTES = Buffer.alloc(0);

/**
 * Those who read one room in this process. Most read no other, have been told all there was, and have a wire: these sit, and are told
 * by what their seats say, without their readers and sinks. To tell thousands in a calm room is mostly to fetch from memory what it
 * takes to tell each.
 */
export class Audience {
  readonly address: Address;
  /** This room alone: one list for all who read no other. */
  readonly rooms: readonly RoomKey[];
  /** When any of those who sit was last told anything, in whole `performance.now()` milliseconds. */
  toldAt = 0;
  readonly #seats: Seat[] = [];
  /** Of the round under way: so many of the first are to hear its news, and so many of these have. Whoever comes meanwhile isn't. */
  #due = 0;
  #heard = 0;
  #sitting = 0;

  constructor(room: RoomKey) {
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

  enter(reader: Reader): Seat {
    const seat: Seat = {
      audience: this,
      reader,
      index: this.#seats.length,
      out: undefined,
      encoding: NOTHING,
      position: 0,
      id: ZERO_ID,
    };
    this.#seats.push(seat);
    return seat;
  }

  /** Its place is taken by the last of those who have heard the news, theirs by the last who is to, theirs by the last of all. */
  leave(seat: Seat): void {
    this.stand(seat);
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

  /** From now on the reader, who stands there and has been told all there was, is told by its seat. */
  sit(seat: Seat, { out, encoding }: Wire, { position, id }: Place): void {
    this.stand(seat);
    this.#sitting++;
    seat.position = position;
    seat.id = id;
    seat.encoding = encoding;
    seat.out = out;
  }

  /** From now on the reader is told by itself. */
  stand(seat: Seat): void {
    if (seat.out === undefined) return;
    this.#sitting--;
    seat.out = undefined;
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
      const seat = this.#seats[this.#heard++] as Seat;
      const { reader, out, encoding } = seat;
      try {
        if (out !== undefined) {
          // Nothing up to there was for it.
          if (seat.position < level.position) {
            seat.position = level.position;
            seat.id = level.id;
          }
          if (seat.position === window.position) continue;
          if (seat.position !== from) {
            read = this.#readAll(seat, around);
            from = seat.position;
          }
          if (read !== undefined) {
            const { run, position } = read;
            if (run.frames.length > 0) {
              told.push({ reader, run, out, bytes: run.as(encoding) });
              hasTold = true;
            }
            seat.position = position;
            seat.id = run.end;
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
  #readAll({ position, id }: Seat, { window }: Surroundings): Read | undefined {
    if (!window.reachesBackTo(id)) return undefined;
    const read = window.read(position, this.rooms, RUN_BYTES);
    return read.position === window.position ? read : undefined;
  }
}
