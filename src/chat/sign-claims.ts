import { createHmac } from 'node:crypto';

/** What a host site says of a user, and from when to when (seconds since 1970). */
export interface ClaimsToSign {
  readonly site: string;
  readonly id: string;
  readonly name: string;
  readonly avatar?: string | undefined;
  readonly role: string;
  readonly rooms: readonly string[];
  readonly iat: number;
  readonly exp: number;
}

/** The signature of claims: HMAC-SHA256 over their base64url text, by the key's own text. */
export function signatureOf(p: string, secret: string): Buffer {
  return createHmac('sha256', secret).update(p).digest();
}

/** `p.s`: p is the unpadded base64url of the claims' JSON, s the hex HMAC-SHA256 of p under the secret's UTF-8 text. */
export function signClaims(claims: ClaimsToSign, secret: string): string {
  const payload = Buffer.from(JSON.stringify(claims)).toString('base64url');
  return `${payload}.${signatureOf(payload, secret).toString('hex')}`;
}
