import pLimit from 'p-limit';
import type { PresenceEntry } from '../chat/entries.ts';
import { idTime, type StreamId, ZERO_ID } from '../chat/ids.ts';
import type { RoomKey } from '../chat/rooms.ts';
import type { SiteName } from '../chat/sites.ts';
import type { User } from '../chat/users.ts';
import type { JournalFacts } from '../chat/vouching.ts';
import { jittered } from '../log/jitter.ts';
import type { JournalEnd, JournalEntry } from '../log/journal.ts';
import type { Address } from '../log/keys.ts';
import type { LogReader, Page } from '../log/read.ts';
import type { RefillReason, TailListener } from '../log/tail.ts';
import { whenReachable } from '../log/unreachable.ts';
import type { Audience, Told } from './audience.ts';
import { type Counts, newCounts } from './counts.ts';
import { Heartbeats } from './heartbeats.ts';
import { Hub } from './hub.ts';
import {
  type Ending,
  type LogRange,
  type Permission,
  Reader,
  type Sink,
  type Surroundings,
} from './reader.ts';
import { type Place, Window } from './window.ts';

interface DeliveryOptions {
  readonly windowEntries: number;
  readonly windowBytes: number;
  readonly pageEntries: number;
  /** Log reads under way at once: with `pageEntries` this bounds what catching up may hold in memory. */
  readonly concurrentReads: number;
}

interface DeliveryEvents {
  /** The window was filled anew: something may have passed unheard, or (`rollback`) the history went back. */
  refilled(reason: RefillReason): void;
  /** Telling one reader threw; it was ended, the others weren't touched. */
  failed(error: unknown): void;
  /** What readers need couldn't be had, and they ask again; told every few seconds at most. */
  insisting(error: unknown): void;
}

/** What a carrier asks for: rooms to read (one at least), the sink that carries, and whose session or user it is. */
export interface Subscription {
  readonly rooms: readonly RoomKey[];
  readonly addresses: readonly Address[];
  readonly sink: Sink;
  readonly isAllowed: () => Promise<Permission>;
}

/**
 * Readers told in one turn of the event loop, for which all else waits: about 4 ms of writing where it was quiet, since
 * what a write leaves to be done is done after each turn, before the next readers; 2 ms where news comes faster than it is
 * told, since a post waits for several turns until it is news itself. Longer ones answer a thousand polls at once, which
 * then come back for one event each.
 */
const READERS_A_TURN = { calm: 512, busy: 256 };
/**
 * Readers for whom is found out what they are told before the first of them is written to: writes that follow each other
 * closely cost less each.
 */
const READERS_A_BURST = 64;

/**
 * Where nobody was told anything for so long nothing is likely to gather, so that the first turn needn't be waited for. The poster may
 * be answered after it. Polls wait: each that is answered comes back, and would for what follows alone; whoever else doesn't sit
 * has the others of its room wait as well.
 */
const QUIET_MS = 50;
const INSISTING_TOLD_EVERY_MS = 5000;

/** What is to be told in one round: to whom, where the window ended before it, and when its oldest was appended, by Redis' clock. */
interface News {
  readonly to: Set<Audience>;
  readonly after: Place;
  readonly oldestAt: number;
}

/** Brings what the journal says to the readers of this process. Knows nothing of how bytes travel. */
export class Delivery implements TailListener, Surroundings {
  readonly window: Window;
  readonly hub = new Hub();
  readonly heartbeats = new Heartbeats();
  readonly counts: Counts;
  readonly pageEntries: number;
  readonly #log: LogReader;
  readonly #limit: ReturnType<typeof pLimit>;
  readonly #events: DeliveryEvents;
  /** Where those who are level stand at least: some of them have been told more. */
  #level: Place = { position: 0, id: ZERO_ID };
  /** Those of whom some have still to be told the news of the round under way, and when its oldest was appended, by Redis' clock. */
  #due: Audience[] = [];
  #dueSince = 0;
  /** Whether there was news for a further round before the last one was over. */
  #pressure: keyof typeof READERS_A_TURN = 'calm';
  /** A window filled anew takes away who was due, not the turn. */
  #isTurnComing = false;
  /** In `performance.now()` milliseconds. */
  #turnEndedAt = performance.now();
  /** What was heard for readers of this process since that round began. */
  #news: News | undefined;
  #farewell: (() => Ending) | undefined;
  #insistingToldAt = Number.NEGATIVE_INFINITY;
  suspectRollback: () => void = () => {};
  /** Told once a turn: milliseconds from the append of the round’s oldest news until the turn’s readers were written to. */
  toldTurn: (latencyMs: number) => void = () => {};
  /** Told of everybody who came to a room, or is no longer there. */
  heardPresence: (room: RoomKey, user: User, isHere: boolean) => void = () => {};
  /** Told of every session and user whose log-ins ended or changed, before their readers are; without an address: any may have, unheard. */
  heardSessionEnd: (address?: Address) => void = () => {};

  /** `counts` may be those of several. */
  constructor(
    log: LogReader,
    options: DeliveryOptions,
    events: DeliveryEvents,
    counts: Counts = newCounts(),
  ) {
    this.counts = counts;
    this.window = new Window(options);
    this.pageEntries = options.pageEntries;
    this.#log = log;
    this.#limit = pLimit(options.concurrentReads);
    this.#events = events;
  }

  /** Enters a reader: from now on nothing can pass it unseen. It is told nothing before it begins. */
  enter(subscription: Subscription): Reader {
    const reader = new Reader(this, subscription);
    if (this.#farewell) reader.end(this.#farewell());
    return reader;
  }

  /** Refusal: `unavailable`. Small, so that whoever comes needn't wait for those who catch up. */
  readFacts(id: StreamId): Promise<JournalFacts> {
    return whenReachable(this.#log.facts(id));
  }

  /** Refusal: `unavailable`. */
  readPage(
    rooms: readonly RoomKey[],
    { after, end, limit }: LogRange,
    isWanted: () => boolean,
  ): Promise<Page | undefined> {
    return whenReachable(
      this.#limit(async () => (isWanted() ? this.#log.page(rooms, after, end, limit) : undefined)),
    );
  }

  get level(): Place {
    return this.#level;
  }

  /**
   * The window takes the entries in, and the readers of the rooms they are for are told in rounds, which take turns with
   * the rest of the process: what arrives meanwhile goes out with the same write. Nobody is touched before its turn.
   */
  heard(entries: readonly JournalEntry[]): void {
    const after = this.window.endPlace;
    this.#endSessions(entries);
    for (const entry of entries) {
      if (entry.kind === 'presence') this.#hearPresence(entry);
      this.window.push(entry);
      const audience = this.hub.audienceAt(entry.to);
      if (audience === undefined) continue;
      this.#news ??= { to: new Set(), after, oldestAt: idTime(entry.id) };
      this.#news.to.add(audience);
    }
    if (this.#news !== undefined && this.#isUrgent(this.#news)) {
      this.#level = this.#news.after;
      this.#tellDue();
    } else this.#goOn();
  }

  /** Takes a turn if there is anybody to tell. Between rounds all who are level stand before the next one's news. */
  #goOn(): void {
    const isBetween = this.#due.length === 0;
    if (isBetween) this.#level = this.#news?.after ?? this.window.endPlace;
    if (this.#isTurnComing) return;
    if (isBetween && this.#news === undefined) {
      this.#pressure = 'calm';
      return;
    }
    this.#isTurnComing = true;
    setImmediate(this.#tellDue);
  }

  /** Whether what was heard needn't wait for a turn. */
  #isUrgent({ to }: News): boolean {
    if (this.#isTurnComing || performance.now() - this.#turnEndedAt < QUIET_MS) return false;
    for (const { allSit } of to) if (!allSit) return false;
    return true;
  }

  #beginRound({ to, oldestAt }: News): void {
    this.#news = undefined;
    this.#dueSince = oldestAt;
    for (const audience of to) {
      audience.beginRound();
      this.#due.push(audience);
    }
  }

  /** Tells readers that are due, some each turn of the event loop, each up to the window's end as it is then. */
  readonly #tellDue = (): void => {
    this.#isTurnComing = false;
    if (this.#due.length === 0 && this.#news !== undefined) this.#beginRound(this.#news);
    let left = READERS_A_TURN[this.#pressure];
    let hasTold = false;
    try {
      while (left > 0 && this.#due.length > 0) {
        const burst: Told[] = [];
        try {
          left -= this.#hear(Math.min(left, READERS_A_BURST), burst);
        } finally {
          // What was found out counts as told.
          for (const told of burst) this.#tell(told);
          hasTold ||= burst.length > 0;
        }
      }
      if (hasTold) this.toldTurn(Math.max(0, Date.now() - this.#dueSince));
    } finally {
      this.#turnEndedAt = performance.now();
      if (this.#news !== undefined) this.#pressure = 'busy';
      this.#goOn();
    }
  };

  /** Finds out what so many of those who are due are to be told; answers how many they were. */
  #hear(most: number, burst: Told[]): number {
    let heard = 0;
    for (let next = this.#due[0]; next !== undefined && heard < most; next = this.#due[0]) {
      heard += next.hear(most - heard, this, burst);
      if (next.hasHeard) this.#due.shift();
    }
    return heard;
  }

  #tell({ reader, run, out, bytes }: Told): void {
    try {
      if (out === undefined) return reader.take(run);
      this.counts.events += run.frames.length;
      this.counts.runs++;
      if (!out.write(bytes)) reader.filled();
    } catch (error) {
      this.failed(error, reader);
    }
  }

  refilled(end: JournalEnd, reason: RefillReason): void {
    this.heardSessionEnd();
    // Before the window moves, so that whoever is ended is left with a cursor of what it was told.
    this.#endSessions(end.entries, true);
    const before = { epoch: this.window.epoch, level: this.#level.id };
    this.window.refill(end);
    // Each reader goes on by itself from where it stood.
    this.#due = [];
    this.#news = undefined;
    this.#level = this.window.endPlace;
    this.counts.refills[reason]++;
    this.#events.refilled(reason);
    this.#each([...this.hub.everyone()], (reader) => reader.refilled(reason, before.epoch, before.level));
  }

  #hearPresence({ to, data }: JournalEntry): void {
    const told = presenceOf(data);
    if (told !== undefined) this.heardPresence(to.slice('room:'.length) as RoomKey, told.user, told.here);
  }

  failed(error: unknown, reader: Reader): void {
    this.#events.failed(error);
    reader.end();
  }

  insisting(error: unknown): void {
    const now = performance.now();
    if (now - this.#insistingToldAt < INSISTING_TOLD_EVERY_MS) return;
    this.#insistingToldAt = now;
    this.#events.insisting(error);
  }

  /** Logged out, revoked, or allowed something else: acts when it is read, before what came with it, so that no cursor counts as told what wasn't. */
  #endSessions(entries: readonly JournalEntry[], isLate = false): void {
    for (const { kind, to } of entries) {
      switch (kind) {
        case 'session-end':
          this.heardSessionEnd(to);
          this.#endAt(to);
          break;
        case 'revoke':
        case 'rights':
          this.heardSessionEnd(to);
          // What is heard late may have been followed by another log-in.
          if (kind === 'revoke' && !isLate) this.#endAt(to);
          else this.#each([...this.hub.at(to)], (reader) => reader.authoriseAgain());
      }
    }
  }

  #endAt(address: Address): void {
    this.#each([...this.hub.at(address)], (reader) => reader.end({ code: 'session_ended' }));
  }

  /** A reader that throws is a bug, and must not cost the others a word. */
  #each(readers: readonly Reader[], act: (reader: Reader) => void): void {
    readers.forEach((reader) => {
      try {
        act(reader);
      } catch (error) {
        this.failed(error, reader);
      }
    });
  }

  /** Ends all readers at a site, or the guests among them. */
  endSite(site: SiteName, who: 'everybody' | 'guests', ending: Ending): void {
    const readers = who === 'guests' ? this.hub.guestsAt(site) : this.hub.atSite(site);
    this.#each([...readers], (reader) => reader.end(ending));
  }

  /** Ends every reader of this process, and whoever still comes, their clients coming back spread over `spreadMs`. */
  endEveryone(code: Ending['code'], spreadMs: number): void {
    this.#farewell = () => ({ code, retryMs: jittered(spreadMs, 0, 1) });
    const bye = this.#farewell;
    this.#each([...this.hub.everyone()], (reader) => reader.end(bye()));
  }
}

/** Undefined for what isn't understood: it must not cost everybody a new window. */
function presenceOf(data: string): Pick<PresenceEntry, 'user' | 'here'> | undefined {
  try {
    const { user, here } = JSON.parse(data) as Partial<PresenceEntry>;
    return typeof user?.id === 'string' && typeof here === 'boolean' ? { user, here } : undefined;
  } catch {
    return undefined;
  }
}
