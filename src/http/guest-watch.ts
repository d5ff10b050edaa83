import type { SiteName } from '../chat/sites.ts';
import type { SiteBook } from '../log/site-book.ts';
import { guestsAddress } from './authority.ts';
import type { Shard } from './service.ts';

const LOOK_EVERY_MS = 500;

/** Ends what guests read, soon after their site no longer lets them: what is open asks nobody by itself. */
export class GuestWatch {
  readonly #sites: Pick<SiteBook, 'get'>;
  readonly #shardOf: (site: SiteName) => Pick<Shard, 'delivery'>;
  /** Sites that guests read something of. */
  readonly #read = new Set<SiteName>();
  #timer: NodeJS.Timeout | undefined;

  constructor(sites: Pick<SiteBook, 'get'>, shardOf: (site: SiteName) => Pick<Shard, 'delivery'>) {
    this.#sites = sites;
    this.#shardOf = shardOf;
  }

  /** A guest of the site has begun to read. */
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

  async #look(site: SiteName): Promise<void> {
    const { delivery } = this.#shardOf(site);
    const address = guestsAddress(site);
    if (delivery.hub.isEmpty(address)) {
      this.#read.delete(site);
      return;
    }
    try {
      if ((await this.#sites.get(site))?.guests !== 'allowed')
        delivery.endAll(address, { code: 'session_ended' });
    } catch {
      // Looked at again in a moment.
    }
  }
}
