import { setTimeout as pause } from 'node:timers/promises';
import { idTime, type StreamId, ZERO_ID } from '../chat/ids.ts';
import { judge } from '../chat/vouching.ts';
import { jittered } from './jitter.ts';
import { type JournalEnd, type JournalEntry, journalEntry, readFacts, readJournalEnd } from './journal.ts';
import type { Keys } from './keys.ts';
import { type Log, withoutCommand } from './logger.ts';
import type { RedisClient } from './redis-client.ts';

/** Why the window is filled anew: at the start; the tail was outrun by trimming; the history went back. */
export type RefillReason = 'start' | 'outrun' | 'rollback';

/** Who hears what the tail reads. Both are called synchronously, in the journal's order. */
export interface TailListener {
  heard(entries: readonly JournalEntry[]): void;
  refilled(end: JournalEnd, reason: RefillReason): void;
}

interface TailOptions {
  /** Most entries that one read takes. */
  readonly tailBatchEntries: number;
  readonly windowEntries: number;
  readonly windowBytes: number;
}

/** XREAD blocks for so long at most, since an id above the journal's top would be waited for in silence. */
const BLOCK_MS = 1000;
const CHECK_EVERY_MS = 1000;
const RETRY_MS = 200;
/** A quiet journal is asked each second, so that a tail of which so long nothing came doesn't read. */
const SILENT_MS = 3000;

/**
 * Reads the journal as it grows, on a connection of its own. Its position is always a concrete id. It asks Redis to
 * vouch for that position once a second, after every fault, and whenever an entry doesn't follow it directly.
 */
export class Tail {
  readonly #redis: RedisClient;
  readonly #keys: Keys;
  readonly #log: Log;
  readonly #options: TailOptions;
  readonly #listener: TailListener;
  readonly #stopping = new AbortController();
  #epoch = '';
  #position: StreamId = ZERO_ID;
  #checkedAt = 0;
  #mustCheck = false;
  /** What was read may not have been told. */
  #owesRefill = false;
  #loop: Promise<void> | undefined;
  #heardAt = 0;
  #lagMs = 0;

  constructor(redis: RedisClient, keys: Keys, log: Log, options: TailOptions, listener: TailListener) {
    this.#redis = redis;
    this.#keys = keys;
    this.#log = log;
    this.#options = options;
    this.#listener = listener;
    redis.on('ready', () => {
      this.#mustCheck = true;
    });
  }

  /** Fills the window, then reads on until `stop`. Rejects if the first fill fails. */
  async start(): Promise<void> {
    await this.#refill('start');
    this.#loop = this.#run();
  }

  /** Whether the journal was read (or found quiet) within the last `withinMs` milliseconds. */
  isReading(withinMs = SILENT_MS): boolean {
    return performance.now() - this.#heardAt < withinMs;
  }

  /**
   * How far behind the journal this process is, in milliseconds: how old the newest entry was when it was read, between
   * Redis' clock and this machine's (0 once there are no more); while nothing can be read, how long that has been so.
   */
  get lagMs(): number {
    return this.isReading() ? this.#lagMs : performance.now() - this.#heardAt;
  }

  /** Has the tail look for a rollback with its next read (within a second) instead of when it is due. */
  suspect(): void {
    this.#mustCheck = true;
  }

  /** Ends the reading; its connection must be closed for a blocked read to end at once. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#redis.disconnect();
    await this.#loop;
  }

  async #run(): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      try {
        await this.#step();
      } catch (error) {
        if (this.#stopping.signal.aborted) return;
        this.#mustCheck = true;
        this.#log.warn({ err: withoutCommand(error) }, 'the journal can’t be read; trying again');
        await pause(jittered(RETRY_MS, 0.5, 1.5));
      }
    }
  }

  async #step(): Promise<void> {
    if (this.#owesRefill) {
      await this.#check();
      return;
    }
    const entries = await this.#read();
    const follows = entries.length === 0 || entries[0]?.before === this.#position;
    if (this.#mustCheck || !follows) {
      if (!(await this.#check())) return;
    }
    this.#heardAt = performance.now();
    this.#lagMs = 0;
    if (entries.length > 0) {
      this.#position = (entries.at(-1) as JournalEntry).id;
      this.#lagMs = Math.max(0, Date.now() - idTime(this.#position));
      this.#owesRefill = !this.#tell(entries);
      if (this.#owesRefill) return;
    }
    if (performance.now() - this.#checkedAt >= CHECK_EVERY_MS) await this.#check();
  }

  /** A listener that throws is a bug; it must not cost a reader an entry, so the window is then filled anew. */
  #tell(entries: readonly JournalEntry[]): boolean {
    try {
      this.#listener.heard(entries);
      return true;
    } catch (error) {
      this.#log.error({ err: withoutCommand(error) }, 'telling what the journal said failed');
      return false;
    }
  }

  async #read(): Promise<JournalEntry[]> {
    const reply = await this.#redis.xread(
      'COUNT',
      this.#options.tailBatchEntries,
      'BLOCK',
      this.#mustCheck ? 1 : BLOCK_MS,
      'STREAMS',
      this.#keys.journal,
      this.#position,
    );
    return reply?.[0]?.[1].map(journalEntry) ?? [];
  }

  /** Whether one may go on from the position; if not, or if that is owed, the window was filled anew and the position with it. */
  async #check(): Promise<boolean> {
    this.#mustCheck = false;
    const facts = await readFacts(this.#redis, this.#keys, this.#position);
    this.#checkedAt = performance.now();
    const verdict = facts.epoch === this.#epoch ? judge(this.#position, facts) : 'rollback';
    if (verdict === 'vouched' && !this.#owesRefill) return true;
    await this.#refill(verdict === 'rollback' ? 'rollback' : 'outrun');
    this.#owesRefill = false;
    return false;
  }

  async #refill(reason: RefillReason): Promise<void> {
    const end = await readJournalEnd(this.#redis, this.#keys, {
      entries: this.#options.windowEntries,
      bytes: this.#options.windowBytes,
    });
    if (reason !== 'start')
      this.#log.warn({ reason, from: this.#position, to: end.last }, 'the journal went on elsewhere');
    this.#epoch = end.epoch;
    this.#position = end.last;
    this.#heardAt = this.#checkedAt = performance.now();
    this.#lagMs = 0;
    this.#listener.refilled(end, reason);
  }
}
