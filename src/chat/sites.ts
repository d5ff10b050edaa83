import { z } from 'zod';
import { parse } from './parsing.ts';
import { slug } from './slugs.ts';
import { title } from './titles.ts';

declare const brand: unique symbol;

/** The name of a site, as it stands in `site=`, in its cookie's name and in keys. */
export type SiteName = string & { readonly [brand]: 'SiteName' };

/** The site that is always there, and that is meant where none is named. */
export const MAIN_SITE = 'main' as SiteName;

/** A key that a host site signs its claims with. */
export interface ClaimKey {
  readonly id: string;
  readonly secret: string;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
}

/** Whose JSON Web Tokens a site's claims may come in, besides those signed with a claim key. */
export interface JwtIssuer {
  /** What `iss` must be, if anything. */
  readonly issuer?: string | undefined;
  /** What `aud` must be or hold, if anything. */
  readonly audience?: string | undefined;
  /** PEM. Either this or `jwksUrl`. */
  readonly publicKey?: string | undefined;
  readonly jwksUrl?: string | undefined;
}

/** A host site: its users, rooms and cookies are its own. */
export interface Site {
  readonly site: SiteName;
  readonly title?: string | undefined;
  /** Origins of its pages, as browsers write them: `scheme://host[:port]`. */
  readonly origins: readonly string[];
  /** Whether somebody whom it doesn't vouch for may log in. */
  readonly guests: 'allowed' | 'refused';
  /** Two at most, so that one can take the other's place. */
  readonly claimKeys: readonly ClaimKey[];
  readonly jwt?: JwtIssuer | undefined;
}

const MAX_ORIGINS = 100;
const MAX_CLAIM_KEYS = 2;
const MIN_SECRET_CHARACTERS = 16;

const siteName = slug.transform((name) => name as SiteName);

/** [spec] RFC 6454, 6.1: an origin has neither path nor user; what a browser sends is in lower case, without the usual port. */
const origin = z
  .string('must be a string')
  .refine(
    (text) => /^https?:\/\/[^\s/?#@\\]+$/i.test(text) && URL.canParse(text),
    'must be an origin such as https://www.example.org',
  )
  .transform((text) => new URL(text).origin);

const claimKey = z.strictObject({
  id: z
    .string('must be a string')
    .regex(/^[A-Za-z0-9_-]{1,64}$/, 'must be 1 to 64 of A-Z, a-z, 0-9, _ and -'),
  secret: z
    .string('must be a string')
    .min(MIN_SECRET_CHARACTERS, `must have at least ${MIN_SECRET_CHARACTERS} characters`),
  createdAt: z.int('must be milliseconds since 1970').nonnegative('must be milliseconds since 1970'),
});

/** Keys that come over plain HTTP could be anybody's. */
function isKeyUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, hostname } = new URL(text);
  return (
    protocol === 'https:' || (protocol === 'http:' && ['localhost', '127.0.0.1', '[::1]'].includes(hostname))
  );
}

/** [spec] RFC 7468, 13: a public key, and neither a certificate nor a private one. Whether it really is a key is found out where it is kept. */
const PUBLIC_KEY = /^\s*-----BEGIN PUBLIC KEY-----\r?\n[A-Za-z0-9+/=\r\n]+-----END PUBLIC KEY-----\s*$/;

const jwt = z
  .strictObject({
    issuer: z.string('must be a string').min(1, 'must not be empty').optional(),
    audience: z.string('must be a string').min(1, 'must not be empty').optional(),
    publicKey: z
      .string('must be a string')
      .regex(PUBLIC_KEY, 'must be a public key in PEM (BEGIN PUBLIC KEY)')
      .optional(),
    jwksUrl: z.string('must be a string').refine(isKeyUrl, 'must be an https:// URL').optional(),
  })
  .refine(
    ({ publicKey, jwksUrl }) => (publicKey === undefined) !== (jwksUrl === undefined),
    'must have either publicKey or jwksUrl',
  );

const site = z.strictObject({
  site: siteName,
  title: title.optional(),
  origins: z
    .array(origin, 'must be a list of origins')
    .max(MAX_ORIGINS, `must be at most ${MAX_ORIGINS}`)
    .transform((origins) => [...new Set(origins)])
    .default([]),
  guests: z.enum(['allowed', 'refused'], 'must be allowed or refused').default('allowed'),
  claimKeys: z
    .array(claimKey, 'must be a list of keys')
    .max(MAX_CLAIM_KEYS, `must be at most ${MAX_CLAIM_KEYS}`)
    .refine((keys) => new Set(keys.map(({ id }) => id)).size === keys.length, 'must have different ids')
    .default([]),
  jwt: jwt.optional(),
});

/** Made once, as a room's is. */
const named = z.object({ site: siteName });

/** Reads the name of a site. Refusal: `invalid_field`. */
export function parseSiteName(name: unknown): SiteName {
  return parse(named, { site: name }).site;
}

/** Reads a site; its name alone is enough. Refusal: `invalid_field`. */
export function parseSite(value: unknown): Site {
  return parse(site, value);
}

/** A site of which nothing but the name has been said. */
export function newSite(name: SiteName): Site {
  return { site: name, origins: [], guests: 'allowed', claimKeys: [] };
}
