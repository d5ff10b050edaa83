import type { SiteName } from '../chat/sites.ts';
import type { SiteBook } from '../log/site-book.ts';
import type { Shard } from './service.ts';

const LOOK_EVERY_MS = 500;

/** Ends what is read of a site, soon after it no longer is one or no longer lets guests in: what is open asks nobody by itself. */
export class SiteWatch {
  readonly #sites: Pick<SiteBook, 'get'>;
  readonly #shardOf: (site: SiteName) => Pick<Shard, 'delivery'>;
  /** Sites that somebody reads something of. */
  readonly #read = new Set<SiteName>();
  #timer: NodeJS.Timeout | undefined;

  constructor(sites: Pick<SiteBook, 'get'>, shardOf: (site: SiteName) => Pick<Shard, 'delivery'>) {
    this.#sites = sites;
    this.#shardOf = shardOf;
  }

  /** Somebody has begun to read at the site. */
  saw(site: SiteName): void {
    this.#read.add(site);
  }

  start(): void {
    this.#timer = setInterval(() => {
      for (const site of this.#read) void this.#look(site);
    }, LOOK_EVERY_MS);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  async #look(name: SiteName): Promise<void> {
    const { delivery } = this.#shardOf(name);
    if (!delivery.hub.isRead(name)) {
      this.#read.delete(name);
      return;
    }
    try {
      const site = await this.#sites.get(name);
      if (site?.guests === 'allowed') return;
      delivery.endSite(name, site === undefined ? 'everybody' : 'guests', { code: 'session_ended' });
    } catch {
      // Looked at again in a moment.
    }
  }
}
