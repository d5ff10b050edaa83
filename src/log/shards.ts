import type { SiteName } from '../chat/sites.ts';
import type { Keys } from './keys.ts';
import type { RedisClient } from './redis-client.ts';
import { StartError } from './start-error.ts';

const SLOTS = 16384;

/** [spec] Redis Cluster specification, Appendix A: CRC16 (XMODEM), whose lower 14 bits are a key's slot. */
function crc16(text: string): number {
  let crc = 0;
  for (const byte of Buffer.from(text)) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1) & 0xffff;
  }
  return crc;
}

/**
 * The hash tags of so many shards. The slots of a Cluster are cut into as many equal parts, and a shard's tag is the
 * least number whose slot lies in its part: masters that share the slots evenly thus share the shards as well. Of one
 * shard it is `0`.
 */
export function tagsOf(shards: number): string[] {
  const tags: string[] = [];
  for (let number = 0, found = 0; found < shards; number++) {
    const part = Math.floor(((crc16(String(number)) % SLOTS) * shards) / SLOTS);
    if (tags[part] !== undefined) continue;
    tags[part] = String(number);
    found++;
  }
  return tags;
}

/** In which of so many shards all of a site lies: the CRC16 of its name, modulo their number. */
export function shardIndexOf(site: SiteName, shards: number): number {
  return shards === 1 ? 0 : crc16(site) % shards;
}

/**
 * Stores how many shards there are, at the first start. Throws a StartError where there are others: sites would be
 * looked for where they aren't.
 */
export async function keepShards(redis: RedisClient, keys: Keys, shards: number): Promise<void> {
  // What was written before the number was stored lies in one shard.
  const isOlder = (await redis.get(keys.shards)) === null && (await redis.exists(keys.epoch)) === 1;
  await redis.set(keys.shards, isOlder ? 1 : shards, 'NX');
  const stored = await redis.get(keys.shards);
  if (stored !== String(shards)) {
    throw new StartError(
      `SHARDS is ${shards}, but what Redis holds under ${keys.shards} was begun with ${stored}; it can’t be changed later.`,
    );
  }
}
