import type { NextFunction, Request, Response } from 'express';
import { Refusal } from '../chat/refusals.ts';
import { MAIN_SITE, parseSiteName, type SiteName } from '../chat/sites.ts';
import { queryOf } from './reading-request.ts';

/** The site that a request names as `site`, in a POST's body or else in the query. Refusal: `invalid_field`. */
export function namedSiteOf(req: Request): SiteName | undefined {
  const inBody: unknown = (req.body as { site?: unknown } | null | undefined)?.site;
  if (inBody !== undefined) return parseSiteName(inBody);
  // Nearly every request names none: it isn't worth the reading of its query.
  if (!req.originalUrl.includes('site=')) return undefined;
  const [inQuery, another] = queryOf(req).getAll('site');
  if (another !== undefined)
    throw new Refusal('invalid_field', 'site must be given once.', { field: 'site' });
  return inQuery === undefined ? undefined : parseSiteName(inQuery);
}

/** Lets in only what is asked of `main`. Refusal: `not_found`. */
export function onlyMainSite(req: Request, _res: Response, next: NextFunction): void {
  if ((namedSiteOf(req) ?? MAIN_SITE) !== MAIN_SITE)
    throw new Refusal('not_found', 'Only the site main has these pages.');
  next();
}
