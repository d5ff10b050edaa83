import type { NextFunction, Request, Response } from 'express';
import { Refusal } from '../chat/refusals.ts';
import type { SiteName } from '../chat/sites.ts';
import type { SiteBook } from '../log/site-book.ts';
import { whenReachable } from '../log/unreachable.ts';
import type { Authority } from './authority.ts';
import { bearerOf, isBearerSid } from './bearer.ts';
import { isForm } from './read-body.ts';
import { isSame } from './same.ts';

/** Whose pages may send requests that change something. */
export interface OriginPolicy {
  readonly publicUrl: string | undefined;
  readonly allowedOrigins: readonly string[];
}

/** What is needed to judge an origin. */
export interface OriginJudges {
  readonly config: OriginPolicy;
  readonly authority: Authority;
  readonly sites: Pick<SiteBook, 'get'>;
}

/**
 * Lets a POST in only from the service's own pages and those of the site that it is for. JSON without `Origin` and
 * `Sec-Fetch-Site` comes from no browser of today and passes (curl, bots); a form needs a matching `Origin` or the form
 * token of its session. What carries a token needs neither: no other page's browser adds that by itself.
 * Refusal: `origin_refused`.
 */
export function checkOrigin({ config, authority, sites }: OriginJudges) {
  const mustBeOfSite = async (origin: string, req: Request, next: NextFunction): Promise<void> => {
    if (await isOfSite(origin, authority.ticketOf(req).site, sites)) return next();
    throw foreign(origin);
  };
  return (req: Request, _res: Response, next: NextFunction): void | Promise<void> => {
    if (req.method !== 'POST' || isBearersOwn(req, authority)) return next();
    const { origin } = req.headers;
    if (origin !== undefined && !isOwn(origin, req, config) && !isAllowed(origin, config))
      return mustBeOfSite(origin, req, next);
    if (refuseOtherSites(req, config) === 'own') return next();
    if (!isForm(req) || carriesFormToken(req, authority)) return next();
    throw refusal('a form needs an Origin header or the formToken of its session');
  };
}

/**
 * Whether the request is its token's alone: a token that the service made, and that counts here in place of a cookie.
 * Log-ins are none of those: whoever sends one may want to be taken for somebody else.
 */
function isBearersOwn(req: Request, authority: Authority): boolean {
  if (bearerOf(req) === undefined || /^\/session\/?$/i.test(req.path)) return false;
  const { sid } = authority.ticketOf(req);
  return sid !== undefined && isBearerSid(sid);
}

/**
 * Refuses claims from a page of neither the site nor the service itself, be it allowed to post or not: nobody is logged
 * in as another by it. Refusal: `origin_refused`.
 */
export async function checkClaimsOrigin(
  req: Request,
  site: SiteName,
  { config, sites }: OriginJudges,
): Promise<void> {
  const origin = req.get('origin');
  if (origin === undefined || isOwn(origin, req, config) || (await isOfSite(origin, site, sites))) return;
  throw foreign(origin);
}

/**
 * Lets an upgrade in only from the service's own pages and those of its site: a browser sends cookies with any page's
 * WebSocket, and always its `Origin`; what has none is no browser. [spec] RFC 6455, 10.2. Refusal: `origin_refused`.
 */
export async function checkUpgradeOrigin(
  req: Request,
  { config, authority, sites }: OriginJudges,
): Promise<void> {
  const origin = req.get('origin');
  if (origin === undefined || isOwn(origin, req, config) || isAllowed(origin, config)) return;
  if (await isOfSite(origin, authority.ticketOf(req).site, sites)) return;
  throw refusal('WebSockets from that page aren’t let in');
}

/**
 * Refuses what the browser itself says comes from another site's page; answers whether it said whose page it is.
 * [spec] Fetch, 3.2 `Origin` header; Fetch Metadata, 2.3 `Sec-Fetch-Site`. Refusal: `origin_refused`.
 */
export function refuseOtherSites(req: Request, policy: OriginPolicy): 'own' | 'unsaid' {
  const origin = req.get('origin');
  const fetchSite = req.get('sec-fetch-site');
  if (origin !== undefined) {
    if (isOwn(origin, req, policy) || isAllowed(origin, policy)) return 'own';
    throw foreign(origin);
  }
  if (fetchSite !== undefined && fetchSite !== 'same-origin' && fetchSite !== 'none') {
    throw refusal('requests from another site aren’t let in');
  }
  return 'unsaid';
}

function refusal(why: string): Refusal {
  return new Refusal('origin_refused', `Refused: ${why}.`);
}

function foreign(origin: string): Refusal {
  return refusal(
    `requests from ${origin === 'null' ? 'a page without an origin' : 'that origin'} aren’t let in`,
  );
}

/** Whether a site lists an origin as its own; `null` is listed by none. */
export async function isOfSite(
  origin: string,
  site: SiteName,
  sites: Pick<SiteBook, 'get'>,
): Promise<boolean> {
  return (await whenReachable(sites.get(site)))?.origins.includes(origin) === true;
}

function isAllowed(origin: string, { allowedOrigins }: OriginPolicy): boolean {
  return allowedOrigins.includes(origin);
}

/** Whether a page of the service itself sends this. */
export function isOwn(origin: string, req: Request, { publicUrl }: Pick<OriginPolicy, 'publicUrl'>): boolean {
  if (origin === 'null') return false;
  if (publicUrl !== undefined) return origin === publicUrl || origin === new URL(publicUrl).origin;
  const host = req.get('host');
  if (origin === `https://${host}` || origin === `http://${host}`) return true;
  // The scheme isn't compared: behind a proxy that ends TLS this service sees http where the page has https.
  return (
    URL.canParse(origin) &&
    host !== undefined &&
    withoutDefaultPort(new URL(origin).host) === withoutDefaultPort(host)
  );
}

function withoutDefaultPort(host: string): string {
  return host.toLowerCase().replace(/:(80|443)$/, '');
}

function carriesFormToken(req: Request, authority: Authority): boolean {
  const wanted = authority.formTokenOf(authority.ticketOf(req));
  const given: unknown = req.body?.formToken;
  return wanted !== undefined && typeof given === 'string' && isSame(given, wanted);
}
