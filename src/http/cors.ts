import type { NextFunction, Request, Response } from 'express';
import { Refusal } from '../chat/refusals.ts';
import type { SiteName } from '../chat/sites.ts';
import type { Authority } from './authority.ts';
import { isOfSite, isOwn, type OriginJudges } from './origin.ts';

const METHODS = 'GET, POST';
const HEADERS = 'Authorization, Content-Type, Idempotency-Key, Last-Event-ID';
const EXPOSED = 'Retry-After, Throughline';
const PREFLIGHT_KEPT_S = 600;

/**
 * Lets pages of the site that a request names read what it is answered, and of no other. A preflight has no body: what
 * needs one names its site in the query. [spec] Fetch, 3.3 CORS protocol.
 */
export function shareWithSite({ config, authority, sites }: OriginJudges) {
  const share = async (origin: string, req: Request, res: Response, next: NextFunction): Promise<void> => {
    const site = siteOf(req, authority);
    if (site === undefined || !(await isOfSite(origin, site, sites).catch(unlessAway))) {
      for (const name of ['Origin', 'Credentials']) res.removeHeader(`Access-Control-Allow-${name}`);
      return next();
    }
    res.set({
      'Access-Control-Allow-Origin': origin,
      'Access-Control-Allow-Credentials': 'true',
      'Access-Control-Expose-Headers': EXPOSED,
    });
    if (req.method !== 'OPTIONS' || req.get('access-control-request-method') === undefined) return next();
    res.set({
      'Access-Control-Allow-Methods': METHODS,
      'Access-Control-Allow-Headers': HEADERS,
      'Access-Control-Max-Age': String(PREFLIGHT_KEPT_S),
    });
    res.status(204).end();
  };
  return (req: Request, res: Response, next: NextFunction): void | Promise<void> => {
    const { origin } = req.headers;
    const body: { site?: unknown } | null | undefined = req.body;
    // Once there is a body, only a site that it names can change what was found before.
    const isSettled = body !== undefined && body?.site === undefined;
    if (origin === undefined || isSettled || isOwn(origin, req, config)) return next();
    return share(origin, req, res, next);
  };
}

/** Undefined for what is no site's name, which is refused where it is read. */
function siteOf(req: Request, authority: Authority): SiteName | undefined {
  try {
    return authority.ticketOf(req).site;
  } catch (error) {
    if (error instanceof Refusal) return undefined;
    throw error;
  }
}

/** Without Redis nobody's page is known; what that means for the request is told where it is read. */
function unlessAway(error: unknown): false {
  if (error instanceof Refusal) return false;
  throw error;
}
