import { RateLimiterRedis, RateLimiterRes } from 'rate-limiter-flexible';
import { type DoctorReport, PROBED_CARRIERS } from '../chat/doctor.ts';
import { Refusal } from '../chat/refusals.ts';
import type { Keys, UserKey } from './keys.ts';
import type { RedisClient } from './redis-client.ts';
import { refusalOf } from './unreachable.ts';

const ONE_REPORT_PER_S = 60;

/** How often browsers found what, for the operator: one hash, bounded by the report's closed values. */
export class DoctorCounts {
  readonly #redis: RedisClient;
  readonly #key: string;
  readonly #pace: RateLimiterRedis;

  constructor(redis: RedisClient, keys: Keys) {
    this.#redis = redis;
    this.#key = keys.doctor;
    this.#pace = new RateLimiterRedis({
      storeClient: redis,
      keyPrefix: `${keys.pacePrefix}:doctor`,
      points: 1,
      duration: ONE_REPORT_PER_S,
    });
  }

  /** Counts one report; a user may send one a minute. Refusals: `too_fast`, with the seconds to wait; `unavailable`. */
  async add(user: UserKey, { carrier, verdicts, proxy }: DoctorReport): Promise<void> {
    if (this.#redis.status !== 'ready') throw refusalOf(new Error('not connected'), 'unsent');
    try {
      await this.#pace.consume(user);
    } catch (error) {
      if (!(error instanceof RateLimiterRes)) throw refusalOf(error, 'unsent');
      const retryAfter = Math.max(1, Math.ceil(error.msBeforeNext / 1000));
      throw new Refusal('too_fast', `One report a minute is enough. Try again in ${retryAfter} s.`, {
        retryAfter,
      });
    }
    const counting = this.#redis
      .multi()
      .hincrby(this.#key, 'reports', 1)
      .hincrby(this.#key, `carrier:${carrier}`, 1)
      .hincrby(this.#key, `proxy:${proxy}`, 1);
    for (const probed of PROBED_CARRIERS) counting.hincrby(this.#key, `${probed}:${verdicts[probed]}`, 1);
    try {
      const results = (await counting.exec()) ?? [];
      for (const [error] of results) if (error) throw error;
    } catch (error) {
      throw refusalOf(error, 'sent');
    }
  }

  /** The counts so far, by field: `reports`, `carrier:…`, `proxy:…`, `<carrier>:<verdict>`. */
  async read(): Promise<Record<string, number>> {
    const fields = await this.#redis.hgetall(this.#key);
    return Object.fromEntries(Object.entries(fields).map(([field, count]) => [field, Number(count)]));
  }
}
