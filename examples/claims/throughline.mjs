// throughlineClaims({ site: 'shop', id: String(user.id), name: user.name }, process.env.THROUGHLINE_KEY)
import { createHmac } from 'node:crypto';

export function throughlineClaims(user, key) {
  const now = Math.floor(Date.now() / 1000);
  const claims = { site: 'main', role: 'member', rooms: ['*'], iat: now, exp: now + 600, ...user };
  return throughlineSign(JSON.stringify(claims), key);
}

export function throughlineSign(json, key) {
  const p = Buffer.from(json).toString('base64url');
  return `${p}.${createHmac('sha256', key).update(p).digest('hex')}`;
}
