import type { RequestHandler } from 'express';
import session, { type Store } from 'express-session';
import type { SiteName } from '../chat/sites.ts';
import type { SiteBook } from '../log/site-book.ts';
import { refusalOf } from '../log/unreachable.ts';
import { type Authority, cookieNameOf } from './authority.ts';
import { whenReachable } from './reachable.ts';

interface LogInOptions {
  readonly secret: string;
  /** A store for each, since express-session takes one over. */
  readonly openStore: () => Store;
  readonly cookiePath: string;
}

/** express-session for logging in, one for each site's cookie. Refusals: `no_site`, `unavailable`. */
export function logInSessions(
  authority: Authority,
  sites: SiteBook,
  { secret, openStore, cookiePath }: LogInOptions,
): RequestHandler {
  const opened = new Map<SiteName, RequestHandler>();
  const open = (site: SiteName) => {
    const handler = session({
      name: cookieNameOf(site),
      secret,
      store: openStore(),
      resave: false,
      saveUninitialized: false,
      cookie: { httpOnly: true, sameSite: 'lax', secure: 'auto', path: cookiePath },
    });
    opened.set(site, handler);
    return handler;
  };
  return async (req, res, next) => {
    const { site } = authority.ticketOf(req);
    // Only of sites that there are: anybody can name others.
    await whenReachable(sites.mustGet(site));
    const handler = opened.get(site) ?? open(site);
    handler(req, res, (error?: unknown) => next(error && refusalOf(error, 'unsent')));
  };
}
