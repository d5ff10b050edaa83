import type { Keys } from './keys.ts';
import type { RedisClient } from './redis-client.ts';

/** The word of clients that their streams reach them: given to any process, asked for by the one that streams. */
export class Leases {
  readonly #redis: RedisClient;
  readonly #keys: Keys;
  readonly #lifeMs: number;

  constructor(redis: RedisClient, keys: Keys, lifeMs: number) {
    this.#redis = redis;
    this.#keys = keys;
    this.#lifeMs = lifeMs;
  }

  /** Confirms the stream of that nonce, for the lease's life, on behalf of `holder`. */
  async confirm(nonce: string, holder: string): Promise<void> {
    await this.#redis.set(this.#keys.lease(nonce), holder, 'PX', this.#lifeMs);
  }

  /** Whether `holder` itself has confirmed the stream within the lease's life. */
  async isConfirmed(nonce: string, holder: string): Promise<boolean> {
    return (await this.#redis.get(this.#keys.lease(nonce))) === holder;
  }
}
