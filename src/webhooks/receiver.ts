import { setTimeout as pause } from 'node:timers/promises';
import type { Hook } from '../chat/hooks.ts';
import type { StreamId } from '../chat/ids.ts';
import type { DeadLetters } from '../log/dead-letters.ts';
import { jittered } from '../log/jitter.ts';
import type { JournalEntry } from '../log/journal.ts';
import { isGroupGone, type JournalGroup } from '../log/journal-group.ts';
import { type Log, withoutCommand } from '../log/logger.ts';
import { gapPayload, type Payload, payloadOf } from './payload.ts';
import { type Failure, send } from './send.ts';

export interface WebhookOptions {
  /** Longest that one call may take. */
  readonly webhookTimeoutMs: number;
  /** Calls of one receiver under way or waiting for their next try, at once. */
  readonly webhookConcurrency: number;
  /** Tries after which an event is a dead letter. */
  readonly webhookTries: number;
  /** Longest wait before the second try; each next one may be twice as long. */
  readonly webhookBackoffMs: number;
  /** How long an event stays a process' own without being renewed. */
  readonly leaseMs: number;
}

/** What became of events, in numbers that only grow. */
export interface WebhookCounts {
  delivered: number;
  retried: number;
  dead: number;
  /** Dead letters that were thrown away for newer ones. */
  dropped: number;
  /** Journal entries that left unread. */
  trimmed: number;
}

/** What is to be told, and what is done with once it is: an entry of the journal's, or the gap up to an id. */
interface Waiting {
  readonly of: { readonly entry: StreamId } | { readonly gapUpTo: string };
  readonly payload: Payload;
}

const READ_ENTRIES = 100;
/** Without being woken it looks for news so often. */
const LOOK_EVERY_MS = 1000;
const MAX_BACKOFF_MS = 600_000;
/** A stop waits so long for calls under way: they would be made once more otherwise. */
const FINISH_WITHIN_MS = 2000;

/**
 * Tells one webhook's receiver what it is to hear, at least once. While all its places are taken by tries that failed
 * nothing more is read for it: what it misses waits in the journal, and nothing else waits for it.
 */
export class Receiver {
  #hook: Hook;
  readonly #isKept: () => Promise<boolean>;
  readonly #group: JournalGroup;
  readonly #dead: DeadLetters;
  readonly #counts: WebhookCounts;
  readonly #log: Log;
  readonly #options: WebhookOptions;
  readonly #stopping = new AbortController();
  readonly #giveUp = new AbortController();
  /** Read, and neither told nor given up yet. */
  readonly #queue: Waiting[] = [];
  readonly #held = new Set<StreamId>();
  readonly #calls = new Set<Promise<void>>();
  readonly #settled: StreamId[] = [];
  /** The gap that is this process' own to tell, and whether it was told. */
  #gap: { readonly upTo: string; isTold: boolean } | undefined;
  #wake = () => {};
  #isWoken = false;
  #renewedAt = performance.now();
  #claimAt = 0;
  #loop: Promise<void> | undefined;

  /** `isKept` asks whether there still is such a webhook. */
  constructor(
    hook: Hook,
    isKept: () => Promise<boolean>,
    group: JournalGroup,
    dead: DeadLetters,
    counts: WebhookCounts,
    log: Log,
    options: WebhookOptions,
  ) {
    this.#hook = hook;
    this.#isKept = isKept;
    this.#group = group;
    this.#dead = dead;
    this.#counts = counts;
    this.#log = log;
    this.#options = options;
  }

  start(): void {
    this.#loop = this.#run();
  }

  /** Its secret may be another one now. */
  changeTo(hook: Hook): void {
    this.#hook = hook;
  }

  /** There may be news in the journal. */
  wake(): void {
    this.#isWoken = true;
    this.#wake();
  }

  /** What isn't told by then is left to other processes. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.wake();
    await this.#loop;
    await Promise.race([Promise.all(this.#calls), pause(FINISH_WITHIN_MS, undefined, { ref: false })]);
    this.#giveUp.abort();
    await Promise.all(this.#calls);
    try {
      await this.#settle();
      if (this.#gap !== undefined) await this.#group.holdGap(0);
      await this.#group.release([...this.#held], this.#options.leaseMs);
    } catch (error) {
      if (!isGroupGone(error)) this.#warn(error);
    }
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      this.#isWoken = false;
      try {
        await this.#settle();
        await this.#renew();
        await this.#read();
      } catch (error) {
        if (!(isGroupGone(error) && (await this.#makeAnew()))) {
          this.#warn(error);
          await pause(LOOK_EVERY_MS, undefined, { signal, ref: false }).catch(() => {});
        }
      }
      this.#callNext();
      if (!this.#isWoken) await this.#news();
    }
  }

  async #settle(): Promise<void> {
    // More may be settled meanwhile.
    const settled = [...this.#settled];
    await this.#group.settle(settled);
    this.#settled.splice(0, settled.length);
    for (const id of settled) this.#held.delete(id);
    if (!this.#gap?.isTold) return;
    await this.#group.settleGap(this.#gap.upTo);
    this.#gap = undefined;
  }

  async #renew(): Promise<void> {
    const { leaseMs } = this.#options;
    if (performance.now() - this.#renewedAt < leaseMs / 4) return;
    if (this.#gap !== undefined) await this.#group.holdGap(leaseMs);
    await this.#group.renew([...this.#held]);
    this.#renewedAt = performance.now();
  }

  async #read(): Promise<void> {
    if (this.#queue.length > 0 || this.#calls.size >= this.#options.webhookConcurrency) return;
    if (performance.now() >= this.#claimAt) await this.#claim();
    if (this.#queue.length > 0) return;
    const { missed, entries, gap } = await this.#group.read(READ_ENTRIES, this.#options.leaseMs);
    if (missed > 0) this.#missed(missed);
    if (gap !== undefined) {
      this.#gap = { upTo: gap.upTo, isTold: false };
      this.#queue.push({ of: { gapUpTo: gap.upTo }, payload: gapPayload(this.#hook, gap) });
    }
    this.#take(entries);
    if (entries.length === READ_ENTRIES) this.wake();
  }

  /** Its place in the journal is gone. True where that was all. */
  async #makeAnew(): Promise<boolean> {
    try {
      if (!(await this.#isKept())) return true;
      const isNew = await this.#group.restore();
      if (isNew)
        this.#log.error(
          { webhook: this.#hook.id },
          'a webhook lost its place in the journal; its receiver is told that events may be missing',
        );
      // Removed between the two: whoever did that has taken the place away already.
      if (await this.#isKept()) this.wake();
      else await this.#group.destroy();
      return true;
    } catch {
      return false;
    }
  }

  /** Whose process died, or stalled. */
  async #claim(): Promise<void> {
    const { leaseMs } = this.#options;
    await this.#group.tidy(10 * leaseMs);
    const { entries, missed } = await this.#group.claim(leaseMs, READ_ENTRIES);
    if (missed > 0) this.#missed(missed);
    this.#take(entries);
    if (entries.length < READ_ENTRIES) this.#claimAt = performance.now() + jittered(leaseMs / 2, 0.75, 1.25);
  }

  #missed(count: number): void {
    this.#counts.trimmed += count;
    this.#log.error(
      { webhook: this.#hook.id, count },
      'entries left the journal before a webhook’s receiver took them',
    );
  }

  #take(entries: readonly JournalEntry[]): void {
    for (const entry of entries) {
      if (this.#held.has(entry.id)) continue;
      this.#held.add(entry.id);
      const payload = payloadOf(this.#hook, entry);
      if (payload === undefined) this.#settled.push(entry.id);
      else this.#queue.push({ of: { entry: entry.id }, payload });
    }
    if (this.#settled.length > 0) this.#isWoken = true;
  }

  #callNext(): void {
    while (this.#queue.length > 0 && this.#calls.size < this.#options.webhookConcurrency) {
      const { of, payload } = this.#queue.shift() as Waiting;
      const call = this.#tell(payload)
        .then(() => {
          if ('entry' in of) this.#settled.push(of.entry);
          else if (this.#gap?.upTo === of.gapUpTo) this.#gap.isTold = true;
        })
        // Stopped: it stays held, and is left to others.
        .catch(() => {})
        .finally(() => {
          this.#calls.delete(call);
          this.wake();
        });
      this.#calls.add(call);
    }
  }

  /** Resolves when it was taken or is a dead letter; rejects when the service stops before. */
  async #tell(payload: Payload): Promise<void> {
    const { webhookTimeoutMs, webhookTries } = this.#options;
    for (let tries = 1; ; tries++) {
      const failure = await send(this.#hook, payload, webhookTimeoutMs, this.#giveUp.signal);
      if (failure === undefined) {
        this.#counts.delivered++;
        return;
      }
      if (tries >= webhookTries) return this.#bury(payload, tries, failure);
      this.#counts.retried++;
      await pause(this.#backoffMs(tries, failure), undefined, { signal: this.#stopping.signal, ref: false });
    }
  }

  /** Full jitter, but never sooner than the receiver asks for. */
  #backoffMs(tries: number, { retryAfterMs = 0 }: Failure): number {
    const longest = Math.min(MAX_BACKOFF_MS, this.#options.webhookBackoffMs * 2 ** (tries - 1));
    return Math.max(Math.min(retryAfterMs, MAX_BACKOFF_MS), jittered(longest, 0, 1));
  }

  async #bury({ id, type, body }: Payload, tries: number, { reason }: Failure): Promise<void> {
    const webhook = this.#hook.id;
    let isOneThrownAway: boolean | undefined;
    for (;;) {
      try {
        isOneThrownAway ??= await this.#dead.add(webhook, { id, type, body, tries, reason });
        // Whoever removes a webhook takes its letters away, but not one that comes after that.
        if (!(await this.#isKept())) return await this.#dead.drop(webhook);
        if (isOneThrownAway) {
          this.#counts.dropped++;
          this.#log.error({ webhook }, 'the oldest dead letter of a webhook was thrown away for a new one');
        }
        break;
      } catch (error) {
        this.#warn(error);
        await pause(LOOK_EVERY_MS, undefined, { signal: this.#stopping.signal, ref: false });
      }
    }
    this.#counts.dead++;
    this.#log.warn({ webhook, event: id, tries, reason }, 'a webhook’s event is a dead letter');
  }

  #news(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#wake(), jittered(LOOK_EVERY_MS, 0.75, 1.25));
      timer.unref();
      this.#wake = () => {
        clearTimeout(timer);
        this.#wake = () => {};
        resolve();
      };
    });
  }

  #warn(error: unknown): void {
    this.#log.warn({ webhook: this.#hook.id, err: withoutCommand(error) }, 'a webhook waits for Redis');
  }
}
