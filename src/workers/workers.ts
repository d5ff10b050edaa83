import { setTimeout as pause } from 'node:timers/promises';
import type { Config } from '../config.ts';
import { KEEP_ALIVE_MS } from '../http/app-server.ts';
import type { Log } from '../log/logger.ts';
import { StartError } from '../log/start-error.ts';
import { WorkerLife } from './life.ts';
import type { Scrapes } from './scrapes.ts';

const FIRST_BACKOFF_MS = 100;
const MAX_BACKOFF_MS = 5000;
/** A worker that lived this long didn't die of how it was started. */
const SETTLED_MS = 10_000;
/** Deaths at the start, in a row, after which the service gives up, unless another worker serves. */
const MAX_FAILED_STARTS = 5;
/** Keeps a number of workers alive. */
export class Workers {
  readonly #config: Config;
  readonly #log: Log;
  readonly #scrapes: Scrapes;
  readonly #lives = new Set<WorkerLife>();
  readonly #stopping = new AbortController();
  readonly #failing = new AbortController();
  #hasListened = false;
  #rolling: Promise<void> | undefined;
  #mustRollAgain = false;

  constructor(config: Config, log: Log, scrapes: Scrapes) {
    this.#config = config;
    this.#log = log;
    this.#scrapes = scrapes;
  }

  /** Aborts with a StartError when no worker lives and none can be started. */
  get failure(): AbortSignal {
    return this.#failing.signal;
  }

  /** Resolves with the first worker's URL when that listens; the others follow. Throws a StartError, or after `stop`. */
  async start(count: number): Promise<string> {
    const first = await this.#begin();
    for (let i = 1; i < count; i++) void this.#keep(undefined);
    void this.#keep(first);
    return (await first.listening) as string;
  }

  /** Puts a new worker in the place of each, one at a time: the old one ends when the new one listens. */
  restart(): void {
    if (this.#rolling) {
      this.#mustRollAgain = true;
      return;
    }
    this.#log.info({}, 'the workers are restarted one by one; the configuration isn’t read again');
    this.#rolling = this.#replaceAll()
      .catch((error) => {
        if (!this.#stopping.signal.aborted)
          this.#log.error({ err: error }, 'the restart of the workers failed');
      })
      .finally(() => {
        this.#rolling = undefined;
        if (!this.#mustRollAgain || this.#stopping.signal.aborted) return;
        this.#mustRollAgain = false;
        this.restart();
      });
  }

  /** Ends all workers gracefully. Safe to call twice. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.all(Array.from(this.#lives, (life) => life.stop(0)));
  }

  #launch(): WorkerLife {
    this.#stopping.signal.throwIfAborted();
    const life = new WorkerLife(this.#config, () => this.#scrapes.read());
    this.#lives.add(life);
    this.#scrapes.include(life);
    void life.ended.then(() => this.#lives.delete(life));
    return life;
  }

  /** Keeps one place filled, until it is another's to do so. */
  async #keep(life: WorkerLife | undefined): Promise<void> {
    try {
      for (let backoffMs = FIRST_BACKOFF_MS; ; life = undefined) {
        life ??= await this.#begin();
        const how = await life.ended;
        if (this.#stopping.signal.aborted || life.isReplaced) return;
        this.#log.error({ worker: life.id, how, backoffMs }, 'a worker died; another takes its place');
        const wasSettled = performance.now() - life.startedAt > SETTLED_MS;
        await this.#pause(backoffMs);
        backoffMs = wasSettled ? FIRST_BACKOFF_MS : Math.min(2 * backoffMs, MAX_BACKOFF_MS);
      }
    } catch (error) {
      if (!this.#stopping.signal.aborted) this.#failing.abort(error);
    }
  }

  /** Starts workers until one listens. What is wrong with the very first start, nothing but the operator puts right. */
  async #begin(): Promise<WorkerLife> {
    let backoffMs = FIRST_BACKOFF_MS;
    for (let failures = 1; ; failures++) {
      const life = this.#launch();
      if (await life.listening) {
        this.#hasListened = true;
        this.#log.info({ worker: life.id }, 'a worker listens');
        return life;
      }
      this.#stopping.signal.throwIfAborted();
      const how = await life.ended;
      const isServed = Array.from(this.#lives).some(({ isListening }) => isListening);
      const isHopeless = life.refusal !== undefined && !this.#hasListened;
      if (isHopeless || (failures >= MAX_FAILED_STARTS && !isServed)) {
        throw new StartError(life.refusal ?? `Workers end while they start (${how}), ${failures} in a row.`);
      }
      this.#log.error({ worker: life.id, how, reason: life.refusal, backoffMs }, 'a worker couldn’t start');
      await this.#pause(backoffMs);
      backoffMs = Math.min(2 * backoffMs, MAX_BACKOFF_MS);
    }
  }

  async #replaceAll(): Promise<void> {
    const old = Array.from(this.#lives).filter(({ isReplaced }) => !isReplaced);
    for (const life of old) {
      // Where it died meanwhile, whatever takes its place is new.
      if (!(await life.listening) || life.hasEnded) continue;
      if (!(await this.#replace(life))) return;
    }
    this.#log.info({ workers: old.length }, 'all workers were restarted');
  }

  async #replace(old: WorkerLife): Promise<boolean> {
    old.isReplaced = true;
    const life = this.#launch();
    if (await life.listening) {
      this.#log.info({ worker: life.id, instead: old.id }, 'a worker listens');
      void this.#keep(life);
      // Its idle connections end as they always do: ended now, they would meet requests that their clients just sent.
      void old.stop(KEEP_ALIVE_MS);
      // Its readers come back spread over this, and then those of the next one.
      await Promise.race([old.ended, this.#pause(this.#config.byeSpreadMs)]);
      return true;
    }
    this.#stopping.signal.throwIfAborted();
    old.isReplaced = false;
    if (old.hasEnded) void this.#keep(undefined);
    this.#log.error(
      { worker: life.id, how: await life.ended, reason: life.refusal },
      'a new worker couldn’t start; the old ones stay',
    );
    return false;
  }

  #pause(ms: number): Promise<void> {
    return pause(ms, undefined, { signal: this.#stopping.signal });
  }
}
