import type { Request } from 'express';
import { Refusal } from '../chat/refusals.ts';
import type { SiteName } from '../chat/sites.ts';
import { parseHostUser } from '../chat/users.ts';
import type { SiteBook } from '../log/site-book.ts';
import { whenReachable } from '../log/unreachable.ts';
import { type Authority, type Identity, sessionlessIdentity, type Ticket } from './authority.ts';
import { namedSiteOf } from './named-site.ts';

/** What a host application's own log-in says: `undefined` for nobody. */
export type UserHook = (req: Request) => unknown;

/** Users of the application that the service is mounted in, all of one site; its session is neither read nor written here. */
export class HostAuthority implements Authority {
  /** The hook reads the session that the host parsed when the request came. */
  readonly isTicketLasting = false;
  readonly #user: UserHook;
  readonly #site: SiteName;
  readonly #sites: Pick<SiteBook, 'mustGet'>;
  readonly sessionCounts = undefined;

  constructor(user: UserHook, site: SiteName, sites: Pick<SiteBook, 'mustGet'>) {
    this.#user = user;
    this.#site = site;
    this.#sites = sites;
  }

  ticketOf(req: Request): Ticket {
    const site = namedSiteOf(req) ?? this.#site;
    if (site !== this.#site)
      throw new Refusal('no_site', `There is no site ${site} here.`, { field: 'site' });
    return { req, site, sid: undefined, addresses: [] };
  }

  async identify({ req, site }: Ticket): Promise<Identity> {
    await whenReachable(this.#sites.mustGet(site));
    const answer = await this.#user(req as Request);
    if (answer === undefined || answer === null) throw new Refusal('no_session', 'You are not logged in.');
    return sessionlessIdentity(site, parseHostUser(answer));
  }

  withToken(): undefined {
    return undefined;
  }

  async renew(): Promise<void> {}

  forget(): void {}

  formTokenOf(): undefined {
    return undefined;
  }
}
