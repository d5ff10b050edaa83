import { createHmac } from 'node:crypto';

/** A claim key of tests. */
export const KEY = 'clk_8khLcqgipWl-HVCSfqdgMVKCGxfGo93iR3-qX9R1qsM';

/** Now, in seconds since 1970. */
export function nowS(): number {
  return Math.floor(Date.now() / 1000);
}

/** What a host site would say of its user 42 now, but for what is given. */
export function said(claims: object = {}): object {
  const iat = nowS();
  return {
    site: 'main',
    id: '42',
    name: 'Ada',
    role: 'member',
    rooms: ['*'],
    iat,
    exp: iat + 600,
    ...claims,
  };
}

/** Claims as a host site signs them. */
export function sign(claims: object | string, key = KEY): string {
  const json = typeof claims === 'string' ? claims : JSON.stringify(claims);
  const p = Buffer.from(json).toString('base64url');
  return `${p}.${createHmac('sha256', key).update(p).digest('hex')}`;
}
