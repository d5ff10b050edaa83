import type { Keys } from './keys.ts';
import type { RedisClient } from './redis-client.ts';

/** What a receiver didn't take in all the tries it had. */
export interface DeadLetter {
  /** Its `webhook-id`. */
  readonly id: string;
  readonly type: string;
  readonly body: string;
  readonly tries: number;
  /** Of the last try. */
  readonly reason: string;
}

/** A dead letter as it is kept: `place` names it among its webhook's. */
export interface KeptLetter extends DeadLetter {
  readonly place: string;
}

/** So many of a webhook are kept, the newest. */
const MOST_KEPT = 1000;

/** The dead letters of all webhooks. */
export class DeadLetters {
  readonly #redis: RedisClient;
  readonly #keys: Keys;

  constructor(redis: RedisClient, keys: Keys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  /** Answers whether an older one had to go for it. One whose answer is lost may be kept although this rejects. */
  async add(hook: string, letter: DeadLetter): Promise<boolean> {
    const key = this.#keys.deadLetters(hook);
    const json = JSON.stringify(letter);
    const isFull = (await this.#redis.xlen(key)) >= MOST_KEPT;
    await this.#redis.xadd(key, 'MAXLEN', MOST_KEPT, '*', 'letter', json);
    return isFull;
  }

  /** The oldest first. */
  async list(hook: string): Promise<KeptLetter[]> {
    const entries = await this.#redis.xrange(this.#keys.deadLetters(hook), '-', '+');
    return entries.map(([place, [, json]]) => ({ place, ...(JSON.parse(json as string) as DeadLetter) }));
  }

  async remove(hook: string, place: string): Promise<void> {
    await this.#redis.xdel(this.#keys.deadLetters(hook), place);
  }

  /** Forgets all of a webhook. */
  async drop(hook: string): Promise<void> {
    await this.#redis.del(this.#keys.deadLetters(hook));
  }
}
