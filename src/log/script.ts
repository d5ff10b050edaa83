import { createHash } from 'node:crypto';
import type { ChainableCommander } from 'ioredis';
import type { RedisClient } from './redis-client.ts';

/**
 * A Lua script, sent by its hash, and in full when Redis doesn't know it (it was restarted, or flushed its scripts):
 * NOSCRIPT means that nothing was executed, so sending again is safe. No cache of what Redis knows can go stale here.
 */
export class Script {
  readonly #source: string;
  readonly #sha1: string;

  constructor(source: string) {
    this.#source = source;
    this.#sha1 = createHash('sha1').update(source).digest('hex');
  }

  async run(
    redis: RedisClient,
    keys: readonly string[],
    args: readonly (string | number)[],
  ): Promise<unknown> {
    try {
      return await redis.evalsha(this.#sha1, keys.length, ...inLists(keys, args));
    } catch (error) {
      if (!(error instanceof Error && error.message.startsWith('NOSCRIPT'))) throw error;
      return redis.eval(this.#source, keys.length, ...inLists(keys, args));
    }
  }

  /** Adds it to a pipeline, by its hash or in full. */
  queue(
    pipeline: ChainableCommander,
    keys: readonly string[],
    args: readonly (string | number)[],
    isInFull: boolean,
  ): void {
    if (isInFull) pipeline.eval(this.#source, keys.length, ...inLists(keys, args));
    else pipeline.evalsha(this.#sha1, keys.length, ...inLists(keys, args));
  }
}

/**
 * What the library takes in place of single arguments, though its types don't say so: hundreds of those would be copied at
 * each of its functions on the way.
 */
function inLists(keys: readonly string[], args: readonly (string | number)[]): string[] {
  return [keys, args] as unknown as string[];
}
