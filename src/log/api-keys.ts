import { createHash, randomBytes } from 'node:crypto';
import { z } from 'zod';
import { type ApiKey, partsOfKey, SCOPES } from '../chat/api-keys.ts';
import type { SiteName } from '../chat/sites.ts';
import type { Address, Keys } from './keys.ts';
import type { RedisClient } from './redis-client.ts';

const stored = z.object({
  site: z.string().transform((site) => site as SiteName),
  hash: z.string(),
  scopes: z.array(z.enum(SCOPES)),
  name: z.string(),
  createdAt: z.number(),
});

/**
 * The keys by which hosts' own servers are let in. Of a secret only its SHA-256 is kept: with 256 random bits there is
 * nothing to guess, so a slow hash would protect nothing.
 */
export class ApiKeys {
  readonly #redis: RedisClient;
  readonly #key: string;

  constructor(redis: RedisClient, keys: Keys) {
    this.#redis = redis;
    this.#key = keys.apiKeys;
  }

  /** Makes a key. `secret` is the whole of it, `tlk_<id>_<secret>`, and can't be told again. */
  async create(
    site: SiteName,
    { name, scopes }: Pick<ApiKey, 'name' | 'scopes'>,
  ): Promise<{ key: ApiKey; secret: string }> {
    const id = randomBytes(6).toString('hex');
    const secret = randomBytes(32).toString('base64url');
    const key: ApiKey = { id, site, name, scopes, createdAt: Date.now() };
    const kept = { site, hash: hashOf(secret), scopes, name, createdAt: key.createdAt };
    await this.#redis.hset(this.#key, id, JSON.stringify(kept));
    return { key, secret: `tlk_${id}_${secret}` };
  }

  /** All keys, or those of a site, the oldest first. */
  async list(site?: SiteName): Promise<ApiKey[]> {
    return Object.entries(await this.#redis.hgetall(this.#key))
      .map(([id, json]) => keyOf(id, json).key)
      .filter((key) => site === undefined || key.site === site)
      .sort((a, b) => a.createdAt - b.createdAt);
  }

  /**
   * From now on the key lets nobody in. `tell` tells who reads with it, by a `session-end` to `keyAddress`: only then is it
   * forgotten, so it can be revoked once more where that fails. Answers which it was; undefined if there is none.
   */
  async revoke(id: string, tell: (key: ApiKey) => Promise<void>): Promise<ApiKey | undefined> {
    const json = await this.#redis.hget(this.#key, id);
    if (json === null) return undefined;
    const { key } = keyOf(id, json);
    // No secret has that for its hash.
    await this.#redis.hset(this.#key, id, JSON.stringify({ ...JSON.parse(json), hash: '' }));
    await tell(key);
    await this.#redis.hdel(this.#key, id);
    return key;
  }

  /** The key that a text is; undefined if it is none. */
  async find(text: string): Promise<ApiKey | undefined> {
    const parts = partsOfKey(text);
    const json = parts && (await this.#redis.hget(this.#key, parts.id));
    if (parts === undefined || typeof json !== 'string') return undefined;
    const { key, hash } = keyOf(parts.id, json);
    // Hashes of what is sent tell nothing of the secret, wherever they begin to differ.
    return hash === hashOf(parts.secret) ? key : undefined;
  }
}

/** Where whoever reads with a key hears that it was revoked. */
export function keyAddress({ id }: Pick<ApiKey, 'id'>): Address {
  return `session:key:${id}`;
}

function hashOf(secret: string): string {
  return createHash('sha256').update(secret).digest('base64url');
}

function keyOf(id: string, json: string): { key: ApiKey; hash: string } {
  const { hash, ...rest } = stored.parse(JSON.parse(json));
  return { key: { id, ...rest }, hash };
}
