import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { NextFunction, Request, Response } from 'express';
import helmet from 'helmet';
import { MAIN_SITE, parseSiteName } from '../chat/sites.ts';
import { whenReachable } from '../log/unreachable.ts';
import { roomOr } from './chat-page.ts';
import { embedPolicy } from './policies.ts';
import type { Service } from './service.ts';

/** Lets the pages of the site in the path have the page in a frame, and nobody else's. Refusals: `no_site`, `invalid_field`. */
export function letSiteFrame({ sites, logInSession }: Pick<Service, 'sites' | 'logInSession'>) {
  return async (req: Request, res: Response, next: NextFunction): Promise<void> => {
    const { guests, origins } = await whenReachable(sites.mustGet(parseSiteName(req.params['site'])));
    // Where the application logs in, nobody can by a name.
    res.locals['guests'] = logInSession ? guests : 'refused';
    helmet(embedPolicy(origins))(req, res, next);
  };
}

const WITHOUT_SCRIPT = /(?<=<noscript>).*(?=<\/noscript>)/;
/** Plain pages are those of `main` alone. */
const NEEDS_SCRIPT = '<p class="stopgap plain">This chat needs script.</p>';

/** `GET /embed/:site/:room`: the chat of one room, for a frame in the site's pages. Its links are relative to two levels up. */
export function showEmbedPage(publicFolder: string) {
  return async (req: Request, res: Response): Promise<void> => {
    if (req.path.endsWith('/'))
      return res.redirect(302, `../${encodeURIComponent(String(req.params['room']))}`);
    const html = await readFile(join(publicFolder, 'embed.html'), 'utf8');
    const { site, room } = req.params;
    res
      .set('Cache-Control', 'no-cache')
      .type('html')
      .send(
        html
          .replaceAll('="./', '="../../')
          .replace(WITHOUT_SCRIPT, (whole) =>
            site === MAIN_SITE
              ? whole.replace('plain/lobby', `plain/${roomOr('lobby', room)}`)
              : NEEDS_SCRIPT,
          )
          .replace('data-guests="allowed"', `data-guests="${res.locals['guests']}"`),
      );
  };
}

/** What other sites' pages load for themselves. */
const FOR_OTHERS = /[\\/]widget\.js$/;

/** Lets any page load the widget's script, also by `crossorigin` and `integrity`. */
export function letOthersLoad(res: Response, path: string): void {
  if (FOR_OTHERS.test(path))
    res.set({ 'Cross-Origin-Resource-Policy': 'cross-origin', 'Access-Control-Allow-Origin': '*' });
}
