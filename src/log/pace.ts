import { BurstyRateLimiter, RateLimiterRedis, RateLimiterRes } from 'rate-limiter-flexible';
import { Refusal } from '../chat/refusals.ts';
import type { UserKey } from './keys.ts';
import type { RedisClient } from './redis-client.ts';
import { refusalOf } from './unreachable.ts';

/** A burst, and then so many a second; the burst is there again a minute after it was begun. */
export interface PaceLimit {
  readonly burst: number;
  readonly perSecond: number;
}

const BURST_AGAIN_S = 60;

/** How fast one user may do something that others are told, over all processes. Posts are counted by their own script. */
export class Pace {
  readonly #limiter: BurstyRateLimiter;
  readonly #redis: RedisClient;

  /** `prefix` is that of its keys. */
  constructor(redis: RedisClient, prefix: string, { burst, perSecond }: PaceLimit) {
    const steady = {
      storeClient: redis,
      keyPrefix: `${prefix}:steady`,
      points: perSecond,
      duration: 1,
    };
    const spare = {
      storeClient: redis,
      keyPrefix: `${prefix}:burst`,
      points: burst,
      duration: BURST_AGAIN_S,
    };
    this.#limiter = new BurstyRateLimiter(new RateLimiterRedis(steady), new RateLimiterRedis(spare));
    this.#redis = redis;
  }

  /** Counts one, or several at once. Refusals: `too_fast`, with the seconds to wait; `unavailable`. */
  async count(user: UserKey, times = 1): Promise<void> {
    if (this.#redis.status !== 'ready') throw refusalOf(new Error('not connected'), 'unsent');
    try {
      await this.#limiter.consume(user, times);
    } catch (error) {
      if (!(error instanceof RateLimiterRes)) throw refusalOf(error, 'unsent');
      throw tooFast(error.msBeforeNext);
    }
  }
}

/** The refusal of what comes too early by so many milliseconds. */
export function tooFast(waitMs: number): Refusal {
  const retryAfter = Math.max(1, Math.ceil(waitMs / 1000));
  return new Refusal('too_fast', `That was too fast. Try again in ${retryAfter} s.`, { retryAfter });
}
