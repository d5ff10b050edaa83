import { createHmac } from 'node:crypto';

/** What a host site says of a user, and from when to when (seconds since 1970). */
export interface Claims {
  readonly site: string;
  readonly id: string;
  readonly name: string;
  readonly avatar?: string | undefined;
  readonly role: string;
  readonly rooms: readonly string[];
  readonly iat: number;
  readonly exp: number;
}

/** `p.s`: p is the unpadded base64url of the claims' JSON, s the hex HMAC-SHA256 of p under the secret's UTF-8 text. */
export function signClaims(claims: Claims, secret: string): string {
  const payload = Buffer.from(JSON.stringify(claims)).toString('base64url');
  return `${payload}.${createHmac('sha256', secret).update(payload).digest('hex')}`;
}
