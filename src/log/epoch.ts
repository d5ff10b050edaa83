import { randomUUID } from 'node:crypto';
import type { Keys } from './keys.ts';
import type { RedisClient } from './redis-client.ts';

/** A name for a history that begins now, should none have a name yet: 48 random bits, of which Node keeps a supply. */
export function newEpoch(): string {
  return randomUUID().slice(-12);
}

/** The name of the history that Redis holds, given one now if it has none. */
export async function readEpoch(redis: RedisClient, keys: Keys): Promise<string> {
  await redis.set(keys.epoch, newEpoch(), 'NX');
  const epoch = await redis.get(keys.epoch);
  if (epoch === null) throw new Error('the epoch vanished while it was read');
  return epoch;
}
