import pLimit from 'p-limit';
import type { StreamId } from '../chat/ids.ts';
import type { RoomKey } from '../chat/rooms.ts';
import type { JournalEnd, JournalEntry } from '../log/journal.ts';
import type { Address } from '../log/keys.ts';
import type { LogReader, Page } from '../log/read.ts';
import type { RefillReason, TailListener } from '../log/tail.ts';
import { Hub } from './hub.ts';
import { type Ending, Reader, type Sink, type Surroundings } from './reader.ts';
import { Window } from './window.ts';

interface DeliveryOptions {
  readonly windowEntries: number;
  readonly windowBytes: number;
  readonly pageEntries: number;
  /** Log reads under way at once: with `pageEntries` this bounds what catching up may hold in memory. */
  readonly concurrentReads: number;
}

/** What a carrier asks for: rooms to read, the sink that carries, and whose session or user it is. */
export interface Subscription {
  readonly rooms: readonly RoomKey[];
  readonly addresses: readonly Address[];
  readonly sink: Sink;
  readonly isAllowed: () => Promise<boolean>;
}

/** Brings what the journal says to the readers of this process. Knows nothing of how bytes travel. */
export class Delivery implements TailListener, Surroundings {
  readonly window: Window;
  readonly hub = new Hub();
  readonly pageEntries: number;
  readonly #log: LogReader;
  readonly #limit: ReturnType<typeof pLimit>;
  readonly #onRollback: () => void;
  #farewell: (() => Ending) | undefined;
  suspectRollback: () => void = () => {};

  constructor(log: LogReader, options: DeliveryOptions, onRollback: () => void) {
    this.window = new Window(options);
    this.pageEntries = options.pageEntries;
    this.#log = log;
    this.#limit = pLimit(options.concurrentReads);
    this.#onRollback = onRollback;
  }

  /** Enters a reader: from now on nothing can pass it unseen. It is told nothing before it begins. */
  enter(subscription: Subscription): Reader {
    const reader = new Reader(this, subscription);
    if (this.#farewell) reader.end(this.#farewell());
    return reader;
  }

  readPage(rooms: readonly RoomKey[], after: StreamId, end: StreamId, limit: number): Promise<Page> {
    return this.#limit(() => this.#log.page(rooms, after, end, limit));
  }

  /** One synchronous pass: the window takes the entries in, then every reader of the rooms they are for is told. */
  heard(entries: readonly JournalEntry[]): void {
    const { position, end } = this.window;
    const addresses = new Set<Address>();
    for (const entry of entries) {
      this.window.push(entry);
      if (entry.kind === 'session-end') this.endAll(entry.to, { code: 'session_ended' });
      else addresses.add(entry.to);
    }
    for (const address of addresses) {
      for (const reader of this.hub.at(address)) reader.wake(position, end);
    }
  }

  refilled(end: JournalEnd, reason: RefillReason): void {
    const before = { epoch: this.window.epoch, end: this.window.end };
    this.window.refill(end);
    if (reason === 'rollback') this.#onRollback();
    for (const reader of [...this.hub.everyone()]) reader.refilled(reason, before.epoch, before.end);
  }

  /** Ends all readers at an address. */
  endAll(address: Address, ending: Ending): void {
    for (const reader of [...this.hub.at(address)]) reader.end(ending);
  }

  /** Ends every reader of this process, and whoever still comes, their clients coming back spread over `spreadMs`. */
  endEveryone(code: Ending['code'], spreadMs: number): void {
    this.#farewell = () => ({ code, retryMs: Math.round(Math.random() * spreadMs) });
    for (const reader of [...this.hub.everyone()]) reader.end(this.#farewell());
  }
}
