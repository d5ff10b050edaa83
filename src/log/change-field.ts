import type { RedisClient } from './redis-client.ts';
import { Script } from './script.ts';

/** KEYS: hash. ARGV: field, what it holds ('' for nothing), what it shall hold. */
const swapScript = new Script(`
if (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
`);

/**
 * Changes a field of a hash whoever else changes it at the same time: `change` is asked again then. It may throw; undefined
 * leaves things as they are.
 */
export async function changeField(
  redis: RedisClient,
  key: string,
  field: string,
  change: (held: string | null) => string | undefined,
): Promise<void> {
  for (;;) {
    const held = await redis.hget(key, field);
    const changed = change(held);
    if (changed === undefined) return;
    if ((await swapScript.run(redis, [key], [field, held ?? '', changed])) === 1) return;
  }
}
