import { BurstyRateLimiter, RateLimiterRedis, RateLimiterRes } from 'rate-limiter-flexible';
import { Refusal } from '../chat/refusals.ts';
import type { Keys, UserKey } from './keys.ts';
import type { RedisClient } from './redis-client.ts';
import { refusalOf } from './unreachable.ts';

/** A burst, and then so many a second; the burst is there again a minute after it was begun. */
export interface PaceLimit {
  readonly burst: number;
  readonly perSecond: number;
}

const BURST_AGAIN_S = 60;

/** How fast one user may post, over all processes. */
export class Pace {
  readonly #limiter: BurstyRateLimiter;
  readonly #redis: RedisClient;

  constructor(redis: RedisClient, keys: Keys, { burst, perSecond }: PaceLimit) {
    const steady = {
      storeClient: redis,
      keyPrefix: `${keys.pacePrefix}:steady`,
      points: perSecond,
      duration: 1,
    };
    const spare = {
      storeClient: redis,
      keyPrefix: `${keys.pacePrefix}:burst`,
      points: burst,
      duration: BURST_AGAIN_S,
    };
    this.#limiter = new BurstyRateLimiter(new RateLimiterRedis(steady), new RateLimiterRedis(spare));
    this.#redis = redis;
  }

  /** Counts one post. Refusals: `too_fast`, with the seconds to wait; `unavailable`. */
  async count(user: UserKey): Promise<void> {
    if (this.#redis.status !== 'ready') throw refusalOf(new Error('not connected'), 'unsent');
    try {
      await this.#limiter.consume(user);
    } catch (error) {
      if (!(error instanceof RateLimiterRes)) throw refusalOf(error, 'unsent');
      const retryAfter = Math.max(1, Math.ceil(error.msBeforeNext / 1000));
      throw new Refusal('too_fast', `That was too fast. Try again in ${retryAfter} s.`, { retryAfter });
    }
  }
}
