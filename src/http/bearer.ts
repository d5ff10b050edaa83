import { createHmac, randomBytes } from 'node:crypto';
import type { Request } from 'express';
import { isSame } from './same.ts';

/** No cookie's session begins like this, so that neither passes for the other. */
const SID_PREFIX = 'bearer:';
const PREFIX = 'tlt_';
const SHAPE = /^tlt_([A-Za-z0-9_-]{32})\.([A-Za-z0-9_-]{43})$/;
/** [spec] RFC 6750, 2.1; RFC 9110, 11.1: the scheme's case doesn't matter. */
const HEADER = /^bearer +(\S+)$/i;

/** A new token, and the session that it stands for. */
export function newBearer(secret: string): { token: string; sid: string } {
  const random = randomBytes(24).toString('base64url');
  return { token: `${PREFIX}${random}.${signature(random, secret)}`, sid: `${SID_PREFIX}${random}` };
}

/** The session that a token stands for; undefined if the service didn't make it. */
export function sidOfBearer(token: string, secret: string): string | undefined {
  const [, random, given] = SHAPE.exec(token) ?? [];
  if (random === undefined || given === undefined || !isSame(given, signature(random, secret)))
    return undefined;
  return `${SID_PREFIX}${random}`;
}

/** Whether the session is that of a token. */
export function isBearerSid(sid: string): boolean {
  return sid.startsWith(SID_PREFIX);
}

/**
 * The token that a request carries, in `Authorization` or as `token` in a body; undefined without one. It is never
 * looked for in the URL, which proxies log and pages hand on.
 */
export function bearerOf(req: Request): string | undefined {
  const header = req.headers.authorization;
  if (header !== undefined) {
    const token = HEADER.exec(header)?.[1];
    if (token?.startsWith(PREFIX)) return token;
  }
  const inBody: unknown = (req.body as { token?: unknown } | null | undefined)?.token;
  return typeof inBody === 'string' && inBody.startsWith(PREFIX) ? inBody : undefined;
}

function signature(random: string, secret: string): string {
  return createHmac('sha256', secret).update(`bearer:${random}`).digest('base64url');
}
