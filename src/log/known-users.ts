import type { Claims } from '../chat/claims.ts';
import type { Keys, UserKey } from './keys.ts';
import type { RedisClient } from './redis-client.ts';
import { Script } from './script.ts';

/** What Redis remembers of a user beside the sessions. */
export interface KnownUser {
  /** What the host site said last. */
  readonly claims: Claims | undefined;
  /** What was said, or logged in with, up to then (seconds since 1970) holds no longer. */
  readonly revokedAt: number | undefined;
}

/** What became of claims: `older` ones were followed by others, and `changed` ones say something else than before. */
type Admission = 'revoked' | 'older' | 'changed' | 'same';

/** Sessions and claims that a revocation ended are all gone by themselves after their life and this. */
const MARGIN_MS = 3_600_000;

/**
 * KEYS: user, revoked. ARGV: iat, the claims' JSON, life in ms. A change is marked by `!` until all have been told of it, so
 * that whoever comes next tells it where the first one couldn't.
 */
const admitScript = new Script(`
local iat = tonumber(ARGV[1])
local revokedAt = tonumber(redis.call('GET', KEYS[2]) or '-1')
if iat <= revokedAt then return 'revoked' end
local heldIat, untold, held = (redis.call('GET', KEYS[1]) or ''):match('^(%d+)(!?) (.*)$')
if heldIat and tonumber(heldIat) > iat then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  return 'older'
end
local isChanged = held and (held ~= ARGV[2] or untold == '!')
redis.call('SET', KEYS[1], ARGV[1] .. (isChanged and '!' or '') .. ' ' .. ARGV[2], 'PX', ARGV[3])
return isChanged and 'changed' or 'same'
`);

/** KEYS: user. ARGV: iat, the claims' JSON. */
const toldScript = new Script(`
if redis.call('GET', KEYS[1]) == ARGV[1] .. '! ' .. ARGV[2] then
  redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. ARGV[2], 'KEEPTTL')
end
return 1
`);

/**
 * KEYS: revoked, user. ARGV: life in ms; what time it is for the host, in seconds. It never goes back, and what the host's
 * clock dated ahead is revoked as well.
 */
const revokeScript = new Script(`
local revokedAt = math.max(
  tonumber(redis.call('TIME')[1]),
  tonumber(ARGV[2]),
  tonumber(redis.call('GET', KEYS[1]) or '0'),
  tonumber((redis.call('GET', KEYS[2]) or ''):match('^%d+') or '0')
)
redis.call('SET', KEYS[1], string.format('%.0f', revokedAt), 'PX', ARGV[1])
return revokedAt
`);

/** What host sites said last of their users, and whose log-ins they took back. */
export class KnownUsers {
  readonly #redis: RedisClient;
  readonly #keys: Keys;
  readonly #lifeMs: number;

  /** `sessionLifeMs`: of a session that isn't used. */
  constructor(redis: RedisClient, keys: Keys, sessionLifeMs: number) {
    this.#redis = redis;
    this.#keys = keys;
    this.#lifeMs = sessionLifeMs + MARGIN_MS;
  }

  /** Takes claims in, unless newer ones were, or the user was revoked since they were made. */
  async admit(userKey: UserKey, claims: Claims): Promise<Admission> {
    return (await admitScript.run(
      this.#redis,
      [this.#keys.user(userKey), this.#keys.revoked(userKey)],
      [claims.iat, jsonOf(claims), this.#lifeMs],
    )) as Admission;
  }

  /** All have been told that these claims changed something. */
  async toldChange(userKey: UserKey, claims: Claims): Promise<void> {
    await toldScript.run(this.#redis, [this.#keys.user(userKey)], [claims.iat, jsonOf(claims)]);
  }

  /** One round trip, which joins what is sent in the same moment. */
  async read(userKey: UserKey): Promise<KnownUser> {
    const [said, revoked] = await this.#redis.mget(this.#keys.user(userKey), this.#keys.revoked(userKey));
    const [, iat = '', json = ''] = /^(\d+)!? (.*)$/s.exec(said ?? '') ?? [];
    return {
      claims: json === '' ? undefined : { ...(JSON.parse(json) as Omit<Claims, 'iat'>), iat: Number(iat) },
      revokedAt: revoked === undefined || revoked === null ? undefined : Number(revoked),
    };
  }

  /** Keeps what was said for as long as a session that is renewed now: else an older word would hold again. */
  async keep(userKey: UserKey): Promise<void> {
    await this.#redis.pexpire(this.#keys.user(userKey), this.#lifeMs);
  }

  /**
   * Nothing said until now holds any more, nor until `atS` (seconds since 1970, by the host's clock). Answers the time from
   * which on it does, in seconds since 1970.
   */
  async revoke(userKey: UserKey, atS = 0): Promise<number> {
    const keys = [this.#keys.revoked(userKey), this.#keys.user(userKey)];
    return Number(await revokeScript.run(this.#redis, keys, [this.#lifeMs, atS]));
  }
}

function jsonOf({ user, rooms }: Claims): string {
  return JSON.stringify({ user, rooms });
}
