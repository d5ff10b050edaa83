import type { SiteName } from '../chat/sites.ts';
import { foldName } from '../chat/users.ts';
import type { Keys, UserKey } from './keys.ts';
import type { RedisClient } from './redis-client.ts';
import { Script } from './script.ts';

/** KEYS: name. ARGV: who wants it, life in ms, who may hand it over. Answers 1 if it is theirs now. */
const reserveScript = new Script(`
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] and holder ~= ARGV[3] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
`);

/** KEYS: name. ARGV: who gives it up. */
const releaseScript = new Script(`
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
`);

/** KEYS: name. ARGV: known users' mark, life in ms. Answers the guest who held it, or ''. */
const keepScript = new Script(`
local holder = redis.call('GET', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return holder and holder ~= ARGV[1] and holder or ''
`);

/** Who holds the names of known users, whom their host site lets share them; no user's key. */
const KNOWN = '*';
const KNOWN_LIFE_MS = 365 * 24 * 60 * 60 * 1000;

/**
 * The display names that guests bear: each belongs to one of them at a time, for as long as the session lives. Those of
 * users whom a host site vouches for are no guest's, for a year after they were last seen.
 */
export class Names {
  readonly #redis: RedisClient;
  readonly #keys: Keys;
  readonly #lifeMs: number;

  constructor(redis: RedisClient, keys: Keys, lifeMs: number) {
    this.#redis = redis;
    this.#keys = keys;
    this.#lifeMs = lifeMs;
  }

  /**
   * Reserves a name, or keeps it reserved; `from` may hand over what it holds (a new log-in by the same person).
   * Answers whether it is the user's now.
   */
  async reserve(site: SiteName, name: string, user: UserKey, from: UserKey | undefined): Promise<boolean> {
    const key = this.#keys.name(site, foldName(name));
    return (await reserveScript.run(this.#redis, [key], [user, this.#lifeMs, from ?? ''])) === 1;
  }

  /** No guest may take the name from now on. Answers the guest who bore it until now. */
  async keepForKnown(site: SiteName, name: string): Promise<UserKey | undefined> {
    const key = this.#keys.name(site, foldName(name));
    return ((await keepScript.run(this.#redis, [key], [KNOWN, KNOWN_LIFE_MS])) || undefined) as
      | UserKey
      | undefined;
  }

  /** Frees a name, if it is still the user's. */
  async release(site: SiteName, name: string, user: UserKey): Promise<void> {
    await releaseScript.run(this.#redis, [this.#keys.name(site, foldName(name))], [user]);
  }
}
