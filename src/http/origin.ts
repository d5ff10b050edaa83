import type { NextFunction, Request, Response } from 'express';
import { Refusal } from '../chat/refusals.ts';
import { type Authority, isSame } from './authority.ts';

/** Whose pages may send requests that change something. */
export interface OriginPolicy {
  readonly publicUrl: string | undefined;
  readonly allowedOrigins: readonly string[];
}

/**
 * Lets a POST in only from the site's own pages. JSON without `Origin` and `Sec-Fetch-Site` comes from no browser of
 * today and passes (curl, bots); a form needs a matching `Origin` or the form token of its session.
 * Refusal: `origin_refused`.
 */
export function checkOrigin(policy: OriginPolicy, authority: Authority) {
  return (req: Request, _res: Response, next: NextFunction): void => {
    if (req.method !== 'POST') return next();
    if (refuseOtherSites(req, policy) === 'own') return next();
    if (!req.is('application/x-www-form-urlencoded') || carriesFormToken(req, authority)) return next();
    throw refusal('a form needs an Origin header or the formToken of its session');
  };
}

/**
 * Lets an upgrade in only from the site's own pages: a browser sends cookies with any page's WebSocket, and always its
 * `Origin`; what has none is no browser. [spec] RFC 6455, 10.2. Refusal: `origin_refused`.
 */
export function checkUpgradeOrigin(req: Request, policy: OriginPolicy): void {
  const origin = req.get('origin');
  if (origin !== undefined && !isOwn(origin, req, policy))
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
    if (isOwn(origin, req, policy)) return 'own';
    throw refusal(
      `requests from ${origin === 'null' ? 'a page without an origin' : 'that origin'} aren’t let in`,
    );
  }
  if (fetchSite !== undefined && fetchSite !== 'same-origin' && fetchSite !== 'none') {
    throw refusal('requests from another site aren’t let in');
  }
  return 'unsaid';
}

function refusal(why: string): Refusal {
  return new Refusal('origin_refused', `Refused: ${why}.`);
}

function isOwn(origin: string, req: Request, { publicUrl, allowedOrigins }: OriginPolicy): boolean {
  if (origin === 'null') return false;
  if (allowedOrigins.includes(origin)) return true;
  if (publicUrl !== undefined) return origin === new URL(publicUrl).origin;
  const host = req.get('host');
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
