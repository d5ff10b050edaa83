import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import { HOOK_EVENTS, type Hook, rotated } from '../chat/hooks.ts';
import type { SiteName } from '../chat/sites.ts';
import { changeField } from './change-field.ts';
import type { Keys } from './keys.ts';
import type { RedisClient } from './redis-client.ts';

const stored = z.object({
  site: z.string().transform((site) => site as SiteName),
  url: z.string(),
  events: z.array(z.enum(HOOK_EVENTS)),
  secret: z.string(),
  retiring: z.array(z.object({ secret: z.string(), until: z.number() })).default([]),
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
    const id = randomBytes(4).toString('hex');
    return { id, site, url, events, secret: newSecret(), retiring: [], createdAt: Date.now() };
  }

  async put(hook: Hook): Promise<void> {
    await this.#redis.hset(this.#key, hook.id, jsonOf(hook));
  }

  /** Gives it a new secret, beside which the old one signs for a day; or, at once, alone. Undefined: there is no such webhook. */
  async rotate(id: string, isAtOnce: boolean): Promise<Hook | undefined> {
    let hook: Hook | undefined;
    const secret = newSecret();
    await changeField(this.#redis, this.#key, id, (json) => {
      hook = json === null ? undefined : rotated(hookOf(id, json), secret, Date.now(), isAtOnce);
      return hook === undefined ? undefined : jsonOf(hook);
    });
    return hook;
  }

  async has(id: string): Promise<boolean> {
    return (await this.#redis.hget(this.#key, id)) !== null;
  }

  /** All, or those of a site, the oldest first. */
  async list(site?: SiteName): Promise<Hook[]> {
    return Object.entries(await this.#redis.hgetall(this.#key))
      .map(([id, json]) => hookOf(id, json))
      .filter((hook) => site === undefined || hook.site === site)
      .sort((a, b) => a.createdAt - b.createdAt);
  }

  async remove(id: string): Promise<void> {
    await this.#redis.hdel(this.#key, id);
  }
}

/** [spec] Standard Webhooks, "Signature scheme": 24 to 64 random bytes, in base64 behind `whsec_`. */
function newSecret(): string {
  return `whsec_${randomBytes(32).toString('base64')}`;
}

function jsonOf({ id: _, ...rest }: Hook): string {
  return JSON.stringify(rest);
}

function hookOf(id: string, json: string): Hook {
  return { id, ...stored.parse(JSON.parse(json)) };
}
