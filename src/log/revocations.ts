import type { Appender } from './append.ts';
import type { Keys, UserKey } from './keys.ts';
import type { RedisClient } from './redis-client.ts';

/** From when on a host site no longer stands by what it said of a user before. */
export class Revocations {
  readonly #redis: RedisClient;
  readonly #keys: Keys;
  readonly #appender: Appender;

  constructor(redis: RedisClient, keys: Keys, appender: Appender) {
    this.#redis = redis;
    this.#keys = keys;
    this.#appender = appender;
  }

  /**
   * Revokes whatever was said of the user until now, and tells every process. Answers the time kept, in seconds since
   * 1970. Safe to repeat.
   */
  async revoke(user: UserKey): Promise<number> {
    const at = Math.floor(Date.now() / 1000);
    await this.#redis.set(this.#keys.revoked(user), at);
    await this.#appender.announce(`user:${user}`, 'revoke', { at });
    return at;
  }

  /** When that was, in seconds since 1970; undefined if never. */
  async revokedAt(user: UserKey): Promise<number | undefined> {
    const at = await this.#redis.get(this.#keys.revoked(user));
    return at === null ? undefined : Number(at);
  }
}
