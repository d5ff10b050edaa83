import { createPublicKey } from 'node:crypto';
import { Refusal } from '../chat/refusals.ts';
import { MAIN_SITE, newSite, parseSite, type Site, type SiteName } from '../chat/sites.ts';
import { changeField } from './change-field.ts';
import type { Keys } from './keys.ts';
import type { RedisClient } from './redis-client.ts';

/** What this process has read of one site. */
interface Kept {
  readonly at: number;
  readonly site: Promise<Site | undefined>;
  /** Once it was read. */
  read?: Site | undefined;
}

/** For so long another process' change may go unseen. */
const KEEP_MS = 1500;

/** What sites there are. `main` always is one, with or without anything said of it. */
export class SiteBook {
  readonly #redis: RedisClient;
  readonly #keys: Keys;
  readonly #open: (site: SiteName) => Promise<void>;
  readonly #kept = new Map<SiteName, Kept>();
  readonly #opened = new Set<SiteName>();

  /** `open` sees to it that a site has its lobby; it is called before this process first tells of the site. */
  constructor(redis: RedisClient, keys: Keys, open: (site: SiteName) => Promise<void> = async () => {}) {
    this.#redis = redis;
    this.#keys = keys;
    this.#open = open;
  }

  /** The site as it was within the last 1.5 s, if it was read lately: what is asked each time needn't wait for that. */
  known(name: SiteName): Site | undefined {
    return this.#fresh(name)?.read;
  }

  /** The site as it was within the last 1.5 s; undefined if there is none. Rejects if that can't be told now. */
  get(name: SiteName): Promise<Site | undefined> {
    const kept = this.#fresh(name);
    if (kept !== undefined) return kept.site;
    const reading: Kept = { at: performance.now(), site: this.#fill(name, () => reading) };
    this.#kept.set(name, reading);
    return reading.site;
  }

  /** The same. Refusal: `no_site`. */
  async mustGet(name: SiteName): Promise<Site> {
    const site = await this.get(name);
    if (site === undefined) throw new Refusal('no_site', `There is no site ${name}.`, { field: 'site' });
    return site;
  }

  /** All sites, by name; read anew. */
  async all(): Promise<Site[]> {
    const stored = Object.values(await this.#redis.hgetall(this.#keys.sites)).map(storedSite);
    if (!stored.some(({ site }) => site === MAIN_SITE)) stored.push(newSite(MAIN_SITE));
    return stored.sort((a, b) => (a.site < b.site ? -1 : 1));
  }

  /** Stores a site, in place of what was said of it before. Refusal: `invalid_field`, where its public key is none. */
  async put(site: Site): Promise<void> {
    mustBeKey(site.jwt?.publicKey);
    await this.#redis.hset(this.#keys.sites, site.site, JSON.stringify(site));
    this.#kept.delete(site.site);
    await this.#open(site.site);
  }

  /**
   * Changes what is said of a site, whoever else does so at the same time. `change` is given what there is; what it throws is
   * thrown, and nothing was changed. Answers the site as it is now. Refusal: `invalid_field`, as for `put`.
   */
  async change(name: SiteName, change: (known: Site | undefined) => Site): Promise<Site> {
    let changed: Site | undefined;
    await changeField(this.#redis, this.#keys.sites, name, (json) => {
      const unsaid = name === MAIN_SITE ? newSite(name) : undefined;
      changed = change(json === null ? unsaid : storedSite(json));
      mustBeKey(changed.jwt?.publicKey);
      return JSON.stringify(changed);
    });
    this.#kept.delete(name);
    await this.#open(name);
    return changed as unknown as Site;
  }

  /** Stores a site with nothing but its name, if there is none. */
  async putNew(name: SiteName): Promise<void> {
    await this.#redis.hsetnx(this.#keys.sites, name, JSON.stringify(newSite(name)));
    this.#kept.delete(name);
    await this.#open(name);
  }

  /** Nobody can ask for the site any more (of `main`: all that was said of it is forgotten). What it holds stays. */
  async remove(name: SiteName): Promise<void> {
    await this.#redis.hdel(this.#keys.sites, name);
    this.#kept.delete(name);
  }

  /** Redis may have lost what it held: every site gets its lobby again. */
  async reopen(): Promise<void> {
    this.#kept.clear();
    this.#opened.clear();
    await Promise.all((await this.all()).map(({ site }) => this.get(site)));
  }

  #fresh(name: SiteName): Kept | undefined {
    const kept = this.#kept.get(name);
    return kept !== undefined && performance.now() - kept.at < KEEP_MS ? kept : undefined;
  }

  /** Neither who isn't there nor a failure is kept. */
  async #fill(name: SiteName, self: () => Kept): Promise<Site | undefined> {
    let site: Site | undefined;
    try {
      site = await this.#read(name);
    } finally {
      if (site === undefined && this.#kept.get(name) === self()) this.#kept.delete(name);
    }
    self().read = site;
    return site;
  }

  async #read(name: SiteName): Promise<Site | undefined> {
    const json = await this.#redis.hget(this.#keys.sites, name);
    if (json === null && name !== MAIN_SITE) {
      this.#opened.delete(name);
      return undefined;
    }
    if (!this.#opened.has(name)) {
      await this.#open(name);
      this.#opened.add(name);
    }
    return json === null ? newSite(name) : storedSite(json);
  }
}

/** What isn't a site there is a fault of whoever wrote it, and no refusal of who asks. */
function storedSite(json: string): Site {
  try {
    return parseSite(JSON.parse(json));
  } catch (error) {
    throw new Error('what Redis holds of a site can’t be read', { cause: error });
  }
}

function mustBeKey(pem: string | undefined): void {
  try {
    if (pem !== undefined) createPublicKey(pem);
  } catch {
    throw new Refusal('invalid_field', 'jwt.publicKey must be a public key in PEM.', {
      field: 'jwt.publicKey',
    });
  }
}
