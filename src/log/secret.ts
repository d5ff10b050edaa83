import { randomBytes } from 'node:crypto';
import type { Keys } from './keys.ts';
import type { RedisClient } from './redis-client.ts';

/** The session secret that all processes over one Redis share, made by the first of them. */
export async function sharedSecret(redis: RedisClient, keys: Keys): Promise<string> {
  await redis.set(keys.secret, randomBytes(32).toString('base64url'), 'NX');
  const secret = await redis.get(keys.secret);
  if (secret === null) throw new Error('the session secret vanished while it was read');
  return secret;
}
