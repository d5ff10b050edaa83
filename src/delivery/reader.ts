import { setTimeout as pause } from 'node:timers/promises';
import { formatCursor, parseCursor } from '../chat/cursors.ts';
import type { EndingCode, GapReason } from '../chat/entries.ts';
import { compareIds, earlierId, laterId, type StreamId, ZERO_ID } from '../chat/ids.ts';
import type { RoomKey } from '../chat/rooms.ts';
import { type JournalFacts, judge } from '../chat/vouching.ts';
import { jittered } from '../log/jitter.ts';
import type { Address } from '../log/keys.ts';
import type { Page } from '../log/read.ts';
import type { RefillReason } from '../log/tail.ts';
import type { Audience, Out, Seat, Wire } from './audience.ts';
import type { CarrierName, Counts } from './counts.ts';
import type { Frame } from './frame.ts';
import type { Hub } from './hub.ts';
import { gapFrame, mergePages } from './merge.ts';
import { type Encoding, NO_ENCODING, Run } from './run.ts';
import type { Place, Window } from './window.ts';

/** Why the service ends a reader, and after how many milliseconds its client may come back (none: it may not). */
export interface Ending {
  readonly code: EndingCode;
  readonly retryMs?: number;
}

/** That a reader may read on, or how it ends; `false`: its session has ended. */
export type Permission = boolean | Ending;

/** What bytes go to. A sink that is full isn't told anything, and calls `reader.advance()` when it has drained. */
export interface Sink {
  readonly carrier: CarrierName;
  /** About how much it takes at once. */
  readonly maxBytes: number;
  readonly isFull: boolean;
  /** Where it may be passed by while its reader is level; asked when it becomes so. */
  readonly wire?: Wire | undefined;
  tell(run: Run, reader: Reader): void;
  /** The reader has been told all there is. */
  level(reader: Reader): void;
  /** The last call; without an ending the client itself has gone. */
  end(ending: Ending | undefined): void;
}

/** What readers share: the window, the hub, and the way to the room logs. */
export interface Surroundings {
  readonly window: Window;
  /** Up to here every reader that is level has been told: at the window's end, but for news that is being told. */
  readonly level: Place;
  readonly hub: Hub;
  readonly counts: Counts;
  /** What the journal says of an id. */
  readFacts(id: StreamId): Promise<JournalFacts>;
  /** Reads the rooms' logs in `(after, end]`, at most `limit` entries of each; undefined if that isn't wanted any more when its turn comes. */
  readPage(rooms: readonly RoomKey[], range: LogRange, isWanted: () => boolean): Promise<Page | undefined>;
  readonly pageEntries: number;
  /** Telling a reader threw, which is a bug. */
  failed(error: unknown, reader: Reader): void;
  /** What a reader needs couldn't be had; it asks again. */
  insisting(error: unknown): void;
  /** Has the tail compare this process' history with Redis' soon. */
  suspectRollback(): void;
}

/** What of the rooms' logs is read: `(after, end]`, at most `limit` entries of each. */
export interface LogRange {
  readonly after: StreamId;
  readonly end: StreamId;
  readonly limit: number;
}

interface ReaderOptions {
  /** One at least. */
  readonly rooms: readonly RoomKey[];
  /** Other addresses whose entries concern this reader. */
  readonly addresses: readonly Address[];
  readonly sink: Sink;
  /** Whether it may still read; asked again when that may have changed. */
  readonly isAllowed: () => Promise<Permission>;
}

const RETRY_MS = 250;
const MAX_RETRY_MS = 2000;

/** Of those who read one room. */
const NO_SEATS: readonly Seat[] = [];

function seatsIn(hub: Hub, rooms: readonly RoomKey[], reader: Reader): readonly Seat[] {
  return rooms.map((room) => ({ reader, audience: hub.audienceFor(room), index: 0 }));
}

/**
 * One subscriber: a cursor, not a queue. What follows the cursor is read from the window if that reaches back so far,
 * else from the room logs; `advance` goes on until the sink is full or all has been told.
 *
 * A reader that is level need not be touched by what isn't for its rooms: everything up to where all are level counts as
 * told. Where it can it then sits down, and its audience tells it. It ends by `end`, once, whoever calls it: a signal and
 * listener of its own would cost each of thousands 1 KB.
 */
export class Reader implements Seat {
  // What its audience tells it by comes first, so that it is fetched from memory at once.
  /** While it sits: where its runs are written to, past it and its sink, … */
  out: Out | undefined;
  /** … and in which form. */
  encoding: Encoding = NO_ENCODING;
  /** Its place: all up to there has been told. While it sits its audience moves it on. */
  position = 0;
  toldId: StreamId = ZERO_ID;
  index = 0;
  readonly audience: Audience;
  readonly #around: Surroundings;
  readonly #rooms: readonly RoomKey[];
  /** In all its rooms but the first. */
  readonly #further: readonly Seat[];
  /** Others at which it listens. */
  readonly #addresses: readonly Address[];
  #userAddress: Address | undefined;
  #isGuest = false;
  readonly #sink: Sink;
  readonly #isAllowed: () => Promise<Permission>;
  #hasBegun = false;
  #isLevel = false;
  #isAhead = false;
  #isReading = false;
  #generation = 0;
  /** When it was last told anything by itself, in whole milliseconds: V8 keeps a fraction elsewhere. */
  #toldAt = Math.trunc(performance.now());
  /** Where it stood when the history went back under it, until that is told. */
  #owedGap: string | undefined;
  #ended: { readonly by: Ending | undefined } | undefined;

  constructor(around: Surroundings, { rooms, addresses, sink, isAllowed }: ReaderOptions) {
    const { hub } = around;
    this.#around = around;
    this.audience = hub.audienceFor(rooms[0] as RoomKey);
    const isOfOne = rooms.length === 1;
    this.#rooms = isOfOne ? this.audience.rooms : rooms;
    this.#further = isOfOne ? NO_SEATS : seatsIn(hub, rooms.slice(1), this);
    this.#addresses = addresses;
    this.#sink = sink;
    this.#isAllowed = isAllowed;
    hub.enter(this, this.#further);
    for (const address of addresses) hub.listen(this, address);
  }

  /** As a seat, that of itself. */
  get reader(): Reader {
    return this;
  }

  /** Whether it has been told all there was in its last turn. */
  get isLevel(): boolean {
    return this.#isLevel;
  }

  /** How it was ended; undefined while it lives. */
  get ended(): { readonly by: Ending | undefined } | undefined {
    return this.#ended;
  }

  get carrier(): CarrierName {
    return this.#sink.carrier;
  }

  /** Whether its socket takes nothing now. */
  get isSlow(): boolean {
    return this.#sink.isFull;
  }

  /** Whether its user is a guest of the site. */
  get isGuest(): boolean {
    return this.#isGuest;
  }

  /** When it was last told anything, or a round later, in whole `performance.now()` milliseconds. */
  get toldAt(): number {
    return this.out === undefined ? this.#toldAt : Math.max(this.#toldAt, this.audience.toldAt);
  }

  /** Its socket has just become full: from now on its sink alone knows when it may be told more. */
  slowed(): void {
    this.#around.counts.slow++;
    this.#standUp();
  }

  /** Where its client may go on from. */
  get cursor(): string {
    if (this.#owedGap !== undefined) return this.#owedGap;
    const { window, level } = this.#around;
    return window.cursorAt(this.#isLevel ? laterId(this.toldId, level.id) : this.toldId);
  }

  /** Called once, when it is known who it is: has it hear what is said to its user, and counts it among the site's guests if it is one. */
  hearAs(userAddress: Address, isGuest: boolean): void {
    if (this.#ended) return;
    this.#userAddress = userAddress;
    this.#around.hub.listen(this, userAddress);
    this.#isGuest = isGuest;
    if (isGuest) this.audience.site.guests++;
  }

  /**
   * Goes on from a cursor as the client sent it, or starts now. `resumed` is called first, with the cursor resumed
   * from (undefined if it must be given up, which `gap`s then say); once it was called nothing is waited for any more. Rejects if Redis
   * must be asked and isn't there.
   */
  async begin(after: string | undefined, resumed: (cursor: string | undefined) => void): Promise<void> {
    if (this.#ended) return;
    const { window, counts } = this.#around;
    const place = after === undefined ? window.endPlace : window.placeOf(after);
    if (place === undefined) {
      const id = await this.#vouchedId(after as string, resumed);
      if (id === undefined || this.#ended) return;
      this.#goTo(id);
    } else {
      this.toldId = place.id;
      this.position = place.position;
    }
    this.#begun();
    const mustReadLog = place === undefined && !window.reachesBackTo(this.toldId);
    if (mustReadLog) counts.catchUps.log++;
    resumed(after ?? window.cursorAt(this.toldId));
    const runsBefore = counts.runs;
    this.advance();
    // What followed its cursor may have been of other rooms.
    if (!mustReadLog && counts.runs > runsBefore) counts.catchUps.window++;
  }

  /**
   * The id of a cursor that the window doesn't know, once Redis vouches for it (or the window has come to know it, or the reader has
   * ended); undefined once gaps were told instead.
   */
  async #vouchedId(after: string, resumed: (cursor: undefined) => void): Promise<StreamId | undefined> {
    const { window } = this.#around;
    const asked = parseCursor(after);
    if (asked === undefined) {
      await this.#gapAll('unknown-cursor', after.slice(0, 64), resumed);
      return undefined;
    }
    while (!this.#ended && window.placeOf(after) === undefined) {
      const generation = this.#generation;
      const facts = await this.#around.readFacts(asked.id);
      if (facts.epoch !== window.epoch) {
        await this.#awaitTail();
      } else if (generation === this.#generation) {
        if (asked.epoch === facts.epoch && judge(asked.id, facts) !== 'rollback') break;
        await this.#gapAll('rollback', after, resumed);
        return undefined;
      }
    }
    return asked.id;
  }

  /**
   * There may be news for one of its rooms. Answers what it is to be told, which then counts as told: whoever asks must have
   * it take that at once. Undefined if there is none here: it may have had it already, and one that isn't level goes on by itself.
   */
  hear(): Run | undefined {
    if (!this.#isLevel) return undefined;
    this.#standUp();
    const { window, level } = this.#around;
    // It has been told nothing since it was level, and nothing up to there was for it.
    if (this.position < level.position) {
      this.position = level.position;
      this.toldId = this.#isAhead ? laterId(this.toldId, level.id) : level.id;
    }
    if (this.position === window.position) return undefined;
    this.#isLevel = false;
    return this.#next();
  }

  /** Tells it what `hear` answered, and what there is beyond that. */
  take(run: Run): void {
    this.#tell(run);
    this.advance();
  }

  /** What was written past it has filled its socket. */
  filled(): void {
    this.#sink.wire?.filled();
  }

  /** Tells what there is until the sink is full or all has been told. */
  advance(): void {
    for (let run = this.#next(); run !== undefined; run = this.#next()) this.#tell(run);
  }

  /** Goes one run further in the window; undefined if there is no more now, or if it must be read from the log, which is begun. */
  #next(): Run | undefined {
    if (!this.#hasBegun || this.#ended || this.#isReading || this.#isLevel || this.#sink.isFull)
      return undefined;
    const { window } = this.#around;
    if (this.#isAhead) this.#goTo(this.toldId);
    if (!window.reachesBackTo(this.toldId)) {
      this.#watch(this.#catchUp());
      return undefined;
    }
    const { run, position } = window.read(this.position, this.#rooms, this.#sink.maxBytes);
    this.position = position;
    if (!this.#isAhead) this.toldId = run.end;
    this.#isLevel = position === window.position;
    return run;
  }

  /** The window was filled anew; before that all who were level stood at `oldLevel` of the history `oldEpoch`. */
  refilled(reason: RefillReason, oldEpoch: string, oldLevel: StreamId): void {
    this.#generation++;
    if (this.#ended) return;
    // Something may have passed unheard. With the epoch all sessions went too, and nobody's ended.
    if (oldEpoch === this.#around.window.epoch) this.authoriseAgain();
    if (!this.#hasBegun) return;
    this.#standUp();
    if (this.#isLevel) this.toldId = laterId(this.toldId, oldLevel);
    this.#isLevel = false;
    this.#isReading = false;
    if (reason === 'rollback') this.#owedGap ??= formatCursor(oldEpoch, this.toldId);
    if (this.#owedGap !== undefined) {
      this.#watch(this.#gapAll('rollback', this.#owedGap, () => {}));
      return;
    }
    this.#goTo(this.toldId);
    this.advance();
  }

  /** What it may read may have changed: ends it if that is less than it reads. */
  authoriseAgain(): void {
    this.#watch(this.#askAgain());
  }

  /** Ends it, once; without an ending because the client has gone. */
  end(ending?: Ending): void {
    if (this.#ended) return;
    this.#ended = { by: ending };
    if (this.#hasBegun) this.#around.counts.ended[this.#sink.carrier][ending?.code ?? 'left']++;
    this.#standUp();
    // From here on it is told nothing, so that it goes no further with those who are level.
    if (this.#isLevel) this.toldId = laterId(this.toldId, this.#around.level.id);
    this.#isLevel = false;
    const { hub } = this.#around;
    hub.leave(this, this.#further);
    for (const address of this.#addresses) hub.unlisten(this, address);
    if (this.#userAddress !== undefined) hub.unlisten(this, this.#userAddress);
    if (this.#isGuest) this.audience.site.guests--;
    this.#sink.end(ending);
  }

  #begun(): void {
    if (this.#hasBegun) return;
    this.#hasBegun = true;
    this.#around.counts.begun[this.#sink.carrier]++;
  }

  #tell(run: Run): void {
    const events = run.frames.length;
    if (events > 0) {
      this.#around.counts.events += events;
      this.#around.counts.runs++;
      this.#toldAt = Math.trunc(performance.now());
      this.#sink.tell(run, this);
    }
    if (this.#isLevel && !this.#ended) this.#sink.level(this);
    if (this.#isLevel && !this.#ended) this.#sitDown();
  }

  /** From now on its audience tells it, if it can. */
  #sitDown(): void {
    const { wire, isFull } = this.#sink;
    if (this.#further.length > 0 || wire === undefined || isFull || this.#isAhead) return;
    this.audience.sit(this, wire);
  }

  /** From now on it is told by itself. */
  #standUp(): void {
    if (this.out === undefined) return;
    this.#toldAt = this.toldAt;
    this.audience.stand(this);
  }

  /** Stands after `id`, wherever in the window (or before, or after it) that is. */
  #goTo(id: StreamId): void {
    const { window } = this.#around;
    this.toldId = id;
    this.#isAhead = compareIds(id, window.end) > 0;
    this.position = Math.max(this.position, window.positionAfter(id));
  }

  /** Reads one run from the room logs, as often as it takes for Redis to answer, and goes on. */
  async #catchUp(): Promise<void> {
    const { window, pageEntries } = this.#around;
    const generation = this.#generation;
    this.#isReading = true;
    const after = this.toldId;
    const asked = window.end;
    const page = await this.#insist(
      () => generation === this.#generation,
      (isWanted) => this.#around.readPage(this.#rooms, { after, end: asked, limit: pageEntries }, isWanted),
    );
    if (page === undefined) return;
    this.#around.counts.logPages++;
    if (page.facts.epoch !== window.epoch || judge(after, page.facts) === 'rollback') {
      this.#owedGap = formatCursor(window.epoch, after);
      return this.#gapAll('rollback', this.#owedGap, () => {});
    }
    // Only to where the window begins now: what is in it and in no log may still be fresh, and it may have moved meanwhile.
    const end = earlierId(asked, window.start);
    const run = mergePages(page.rooms, { after, end, maxBytes: this.#sink.maxBytes, window });
    this.#around.counts.gaps.trimmed += run.frames.filter(({ kind }) => kind === 'gap').length;
    this.#isReading = false;
    this.#goTo(run.end);
    this.#tell(run);
    this.advance();
  }

  /** Says of every room that what followed the cursor is unknown, and goes on from the oldest that the journal has. */
  async #gapAll(reason: GapReason, after: string, resumed: (cursor: undefined) => void): Promise<void> {
    const { window } = this.#around;
    const isFirst = !this.#hasBegun;
    const generation = this.#generation;
    this.#isReading = true;
    const read = (isWanted: () => boolean) =>
      this.#around.readPage(this.#rooms, { after: ZERO_ID, end: ZERO_ID, limit: 0 }, isWanted);
    for (;;) {
      const page = isFirst
        ? await read(() => !this.#ended)
        : await this.#insist(() => generation === this.#generation, read);
      if (page === undefined || this.#ended) return;
      if (page.facts.epoch !== window.epoch) {
        await this.#awaitTail();
        if (!isFirst && generation !== this.#generation) return;
        continue;
      }
      const { base } = page.facts;
      const cursor = formatCursor(window.epoch, base);
      const frames: Frame[] = page.rooms.map(({ room, oldest }, i) =>
        gapFrame(room, after, oldest, reason, i === page.rooms.length - 1 ? cursor : undefined),
      );
      this.#begun();
      this.#around.counts.gaps[reason] += frames.length;
      this.#owedGap = undefined;
      this.#isReading = false;
      this.position = 0;
      this.#goTo(base);
      resumed(undefined);
      this.#tell(new Run(frames, base));
      return this.advance();
    }
  }

  /** Asks until there is an answer; undefined if meanwhile the reader ended or nobody wants it any more. */
  async #insist<T>(
    isWanted: () => boolean,
    ask: (isWanted: () => boolean) => Promise<T>,
    maxRetryMs = MAX_RETRY_MS,
  ): Promise<T | undefined> {
    const isStillWanted = () => !this.#ended && isWanted();
    for (let retryMs = RETRY_MS; isStillWanted(); retryMs = Math.min(2 * retryMs, maxRetryMs)) {
      try {
        const answer = await ask(isStillWanted);
        return isStillWanted() ? answer : undefined;
      } catch (error) {
        this.#around.insisting(error);
        await pause(jittered(retryMs, 0.5, 1.5), undefined, { ref: false });
      }
    }
    return undefined;
  }

  /** Nobody awaits what a reader does by itself, so its failure is told here. */
  #watch(work: Promise<void>): void {
    work.catch((error) => this.#around.failed(error, this));
  }

  async #awaitTail(): Promise<void> {
    this.#around.suspectRollback();
    await pause(RETRY_MS, undefined, { ref: false });
  }

  async #askAgain(): Promise<void> {
    // A log-out must end it within two seconds, however long nobody could say so.
    const isAllowed = await this.#insist(() => true, this.#isAllowed, RETRY_MS);
    if (isAllowed === undefined || isAllowed === true) return;
    this.end(isAllowed || { code: 'session_ended' });
  }
}
