import { appendScript } from './append-script.ts';
import { newEpoch } from './epoch.ts';
import type { Keys } from './keys.ts';
import type { Writer } from './replicated.ts';
import { refusalOf } from './unreachable.ts';

/** How long a `clientId` is remembered: 24 h, in milliseconds. */
const SENT_LIFE_MS = 24 * 60 * 60 * 1000;
/** Redis does nothing else meanwhile: some 2 ms. */
const ENTRIES_A_CALL = 64;

/** What a writer is handed for all entries together, and for each: the number of its keys, and its arguments. */
export const ARGS_BEFORE = 5;
export const ARGS_AN_ENTRY = 7;

/** What the script takes for one entry. */
export interface ScriptEntry {
  readonly keys: readonly string[];
  /** to, kind, data, digest, posts a second, burst */
  readonly args: readonly [string, string, string, string, number | '', number];
}

/** What the script answered for one entry. */
export interface Appended {
  readonly answer: readonly string[];
  readonly isReplicated: boolean;
}

interface Waiting extends ScriptEntry {
  readonly resolve: (appended: Appended) => void;
  readonly reject: (error: unknown) => void;
}

interface BatchOptions {
  readonly journalEntries: number;
  readonly roomLogEntries: number;
}

/**
 * What is said within one turn of the event loop goes to Redis in one call, in that order: most of what a call costs,
 * here and there, doesn't depend on how much is said in it. A single post waits for nobody.
 */
export class AppendBatch {
  readonly #writer: Writer;
  readonly #keys: Keys;
  readonly #options: BatchOptions;
  readonly #told: (tookMs: number) => void;
  #waiting: Waiting[] = [];

  /** `told` hears of each call that was sent how long it took in milliseconds, answered or not. */
  constructor(writer: Writer, keys: Keys, options: BatchOptions, told: (tookMs: number) => void = () => {}) {
    this.#told = told;
    this.#writer = writer;
    this.#keys = keys;
    this.#options = options;
  }

  /** Resolves with the script's answer for this entry. Refusals: `unavailable`, `unsure`. */
  append({ keys, args }: ScriptEntry): Promise<Appended> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ keys, args, resolve, reject });
      if (this.#waiting.length === 1) setImmediate(this.#send);
      else if (this.#waiting.length === ENTRIES_A_CALL) this.#send();
    });
  }

  readonly #send = (): void => {
    const entries = this.#waiting;
    this.#waiting = [];
    if (entries.length > 0) void this.#write(entries);
  };

  async #write(entries: readonly Waiting[]): Promise<void> {
    const { status, isWaitedFor } = this.#writer;
    try {
      if (status !== 'ready') throw refusalOf(new Error(`Redis connection is ${status}`), 'unsent');
      const keys = [this.#keys.journal, this.#keys.epoch];
      const { journalEntries, roomLogEntries } = this.#options;
      const args = [journalEntries, roomLogEntries, newEpoch(), SENT_LIFE_MS, isWaitedFor ? 1 : 0];
      for (const entry of entries) {
        keys.push(...entry.keys);
        args.push(entry.keys.length, ...entry.args);
      }
      const sentAt = performance.now();
      const written = this.#writer.write(appendScript, keys, args);
      const { answer, isReplicated } = await written
        .catch((error) => {
          throw refusalOf(error, 'sent');
        })
        .finally(() => this.#told(performance.now() - sentAt));
      entries.forEach(({ resolve }, i) => {
        resolve({ answer: (answer as string[][])[i] as string[], isReplicated });
      });
    } catch (error) {
      for (const { reject } of entries) reject(error);
    }
  }
}
