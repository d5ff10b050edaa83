import { randomBytes } from 'node:crypto';
import { parseCookie } from 'cookie';
import type { Request, Response } from 'express';
import { Refusal } from '../chat/refusals.ts';
import type { Authority, Ticket } from './authority.ts';
import { isSame } from './same.ts';

const FORM_COOKIE = 'throughline.form';

/**
 * The token that the forms of a page carry: the session's, or for somebody without one the value of a cookie made for
 * this, which a page of another site can neither read nor have sent along (`SameSite`). It isn't signed: who could
 * plant a cookie could plant a signed one, which the service gives to anybody.
 */
export function giveFormToken(authority: Authority, ticket: Ticket, req: Request, res: Response): string {
  const known = wantedToken(authority, ticket, req);
  if (known !== undefined) return known;
  const token = randomBytes(18).toString('base64url');
  const path = req.baseUrl.replace(/\/plain$/i, '') || '/';
  res.cookie(FORM_COOKIE, token, { httpOnly: true, sameSite: 'lax', secure: req.secure, path });
  return token;
}

/** Needs the form token in the body, whatever else the browser says. Refusal: `origin_refused`. */
export function needFormToken(authority: Authority, req: Request): void {
  const wanted = wantedToken(authority, authority.ticketOf(req), req);
  const given: unknown = req.body?.formToken;
  if (wanted === undefined || typeof given !== 'string' || !isSame(given, wanted)) {
    throw new Refusal('origin_refused', 'The form was made before your last log-in or log-out.');
  }
}

function wantedToken(authority: Authority, ticket: Ticket, req: Request): string | undefined {
  const cookie = parseCookie(req.get('cookie') ?? '')[FORM_COOKIE];
  return authority.formTokenOf(ticket) ?? (cookie && /^[A-Za-z0-9_-]{24}$/.test(cookie) ? cookie : undefined);
}
