import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import { HOOK_EVENTS, type Hook } from '../chat/hooks.ts';
import type { SiteName } from '../chat/sites.ts';
import type { Keys } from './keys.ts';
import type { RedisClient } from './redis-client.ts';

const stored = z.object({
  site: z.string().transform((site) => site as SiteName),
  url: z.string(),
  events: z.array(z.enum(HOOK_EVENTS)),
  secret: z.string(),
  createdAt: z.number(),
});

/** Which URLs are told what. */
export class HookBook {
  readonly #redis: RedisClient;
  readonly #key: string;

  constructor(redis: RedisClient, keys: Keys) {
    this.#redis = redis;
    this.#key = keys.hooks;
  }

  /** Makes a webhook that isn't told anything before it is put. */
  make(site: SiteName, { url, events }: Pick<Hook, 'url' | 'events'>): Hook {
    const secret = `whsec_${randomBytes(32).toString('base64')}`;
    return { id: randomBytes(4).toString('hex'), site, url, events, secret, createdAt: Date.now() };
  }

  async put({ id, ...rest }: Hook): Promise<void> {
    await this.#redis.hset(this.#key, id, JSON.stringify(rest));
  }

  async has(id: string): Promise<boolean> {
    return (await this.#redis.hget(this.#key, id)) !== null;
  }

  /** All, or those of a site, the oldest first. */
  async list(site?: SiteName): Promise<Hook[]> {
    return Object.entries(await this.#redis.hgetall(this.#key))
      .map(([id, json]): Hook => ({ id, ...stored.parse(JSON.parse(json)) }))
      .filter((hook) => site === undefined || hook.site === site)
      .sort((a, b) => a.createdAt - b.createdAt);
  }

  async remove(id: string): Promise<void> {
    await this.#redis.hdel(this.#key, id);
  }
}
