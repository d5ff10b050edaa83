import type { RequestHandler } from 'express';
import session, { type Store } from 'express-session';
import type { SiteName } from '../chat/sites.ts';
import type { SiteBook } from '../log/site-book.ts';
import { refusalOf, whenReachable } from '../log/unreachable.ts';
import { type Authority, cookieNameOf, known } from './authority.ts';
import { queryOf } from './reading-request.ts';

interface LogInOptions {
  readonly secret: string;
  /** A store for each, since express-session takes one over. */
  readonly openStore: () => Store;
  readonly cookiePath: string;
}

/**
 * express-session for logging in, one for each site's cookie. `framed=1` in the query asks for one that a frame in
 * another site's page can keep, which over plain HTTP there isn't. Refusals: `no_site`, `unavailable`.
 */
export function logInSessions(
  authority: Authority,
  sites: SiteBook,
  { secret, openStore, cookiePath }: LogInOptions,
): RequestHandler {
  const opened = new Map<string, RequestHandler>();
  const open = (site: SiteName, isFramed: boolean) => {
    const handler = session({
      name: cookieNameOf(site),
      secret,
      store: openStore(),
      resave: false,
      saveUninitialized: false,
      cookie: {
        httpOnly: true,
        path: cookiePath,
        ...(isFramed
          ? // [spec] CHIPS: in a frame of another site's page a cookie is kept only like this, for that page's site.
            { sameSite: 'none', secure: true, partitioned: true }
          : { sameSite: 'lax', secure: 'auto' }),
      },
    });
    opened.set(keyOf(site, isFramed), handler);
    return handler;
  };
  return async (req, res, next) => {
    const ticket = authority.ticketOf(req);
    const { site } = ticket;
    // Only of sites that there are: anybody can name others.
    await whenReachable(sites.mustGet(site));
    // A session that was revoked ends here, which express-session would keep alive by mere asking.
    await known(authority.identify(ticket));
    const isFramed = req.secure && queryOf(req).get('framed') === '1';
    const handler = opened.get(keyOf(site, isFramed)) ?? open(site, isFramed);
    handler(req, res, (error?: unknown) => next(error && refusalOf(error, 'unsent')));
  };
}

function keyOf(site: SiteName, isFramed: boolean): string {
  return isFramed ? `${site} framed` : site;
}
