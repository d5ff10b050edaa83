import { setTimeout as pause } from 'node:timers/promises';
import { jittered } from './jitter.ts';
import { type Log, withoutCommand } from './logger.ts';
import type { Presence } from './presence.ts';
import type { RedisClient } from './redis-client.ts';

const SWEEP_EVERY_MS = 1000;
const SWEEP_ON_MS = 50;
/** A wait that lasted so much longer was no wait: the process, or its machine, was suspended. */
const SUSPENDED_MS = 3000;

/**
 * Every process looks about once a second for leases that have ended, so that a crashed one's people are told gone by any
 * other. After an absence, of Redis or its own (it was started, or suspended), it first waits for `graceMs`, since nobody
 * could renew meanwhile.
 */
export class Sweeper {
  readonly #redis: RedisClient;
  readonly #presence: Presence;
  readonly #log: Log;
  readonly #graceMs: number;
  #notBefore = 0;
  readonly #stopping = new AbortController();
  #loop: Promise<void> | undefined;

  constructor(redis: RedisClient, presence: Presence, log: Log, graceMs: number) {
    this.#redis = redis;
    this.#presence = presence;
    this.#log = log;
    this.#graceMs = graceMs;
    redis.on('ready', () => this.#hold());
  }

  start(): void {
    this.#hold();
    this.#loop = this.#run();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#loop;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    let hasMore = false;
    while (!signal.aborted) {
      const waitMs = hasMore ? SWEEP_ON_MS : jittered(SWEEP_EVERY_MS, 0.75, 1.25);
      // By the clock on the wall: the other one stands still while a machine is suspended.
      const dueAt = Date.now() + waitMs;
      await pause(waitMs, undefined, { signal, ref: false }).catch(() => {});
      if (Date.now() - dueAt > SUSPENDED_MS) this.#hold();
      hasMore = !signal.aborted && (await this.#sweep());
    }
  }

  #hold(): void {
    this.#notBefore = performance.now() + this.#graceMs;
  }

  async #sweep(): Promise<boolean> {
    if (this.#redis.status !== 'ready' || performance.now() < this.#notBefore) return false;
    try {
      return await this.#presence.sweep();
    } catch (error) {
      this.#log.warn({ err: withoutCommand(error) }, 'ended leases couldn’t be looked for; trying again');
      return false;
    }
  }
}
