import { timingSafeEqual } from 'node:crypto';
import { type Claims, MAX_CLAIMS_BYTES, parseClaims } from '../chat/claims.ts';
import { Refusal } from '../chat/refusals.ts';
import { signatureOf } from '../chat/sign-claims.ts';
import type { Site } from '../chat/sites.ts';
import { utf8 } from './utf8.ts';
import type { JwtVerifier } from './verify-jwt.ts';

const SIGNED = /^([A-Za-z0-9_-]+)\.([0-9a-fA-F]{64})$/;
const JWT = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*$/;

/**
 * Reads claims, in either form, once it is sure that the site signed them. Of what it didn't sign nothing is read, and
 * nothing told but that. Refusals: all that begin with `claims_` but `claims_revoked`; `unavailable`.
 */
export async function verifyClaims(site: Site, text: string, jwts: JwtVerifier): Promise<Claims> {
  if (Buffer.byteLength(text) > MAX_CLAIMS_BYTES)
    throw new Refusal('claims_too_large', `Claims have at most ${MAX_CLAIMS_BYTES} bytes.`, {
      field: 'claims',
    });
  const json = await signedJson(site, text, jwts);
  return parseClaims(json, site.site, Date.now() / 1000);
}

async function signedJson(site: Site, text: string, jwts: JwtVerifier): Promise<string> {
  if (JWT.test(text)) {
    const payload = await jwts.verify(site, text);
    if (payload === undefined) throw forged(site);
    return payload;
  }
  const [, p = '', signature = ''] = SIGNED.exec(text) ?? [];
  if (p === '') {
    throw new Refusal(
      'claims_malformed',
      'Claims are p + "." + hex(HMAC-SHA256(key, p)), where p is the unpadded base64url of their JSON; or a JSON Web Token.',
      { field: 'claims' },
    );
  }
  const given = Buffer.from(signature, 'hex');
  // All keys are tried, whichever it is, so that the time tells nothing of them.
  const matches = site.claimKeys.filter(({ secret }) => timingSafeEqual(given, signatureOf(p, secret)));
  if (matches.length === 0) throw forged(site);
  return utf8(Buffer.from(p, 'base64url'));
}

/** The same words whatever was wrong: a forger learns nothing from them. */
function forged({ site, claimKeys, jwt }: Site): Refusal {
  const hasKeys = claimKeys.length > 0 || jwt !== undefined;
  return new Refusal(
    'claims_forged',
    hasKeys
      ? `No key of the site ${site} made this signature. It is over p itself, and the key is its whole text as it stands, clk_ included.`
      : `The site ${site} has no claim key.`,
    { field: 'claims' },
  );
}
