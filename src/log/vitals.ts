import type { Keys } from './keys.ts';
import type { RedisClient } from './redis-client.ts';
import { Script } from './script.ts';

/** How Redis is, as this process sees it. */
export interface Vitals {
  /** How long a command took that does nothing, there and back, with what waited before it; where it took longest. */
  readonly roundTripMs: number;
  /** How far Redis' clock is ahead of this machine's, give or take half the round trip; where it is furthest off. */
  readonly clockAheadMs: number;
  /** Entries that the journals hold. */
  readonly journalEntries: number;
}

/** By a script, which goes to the master that holds the journal. */
const clockScript = new Script(`return redis.call('TIME')`);

/** Asks Redis how it is, wherever the shards of these keys lie. Rejects where it isn't there. */
export async function readVitals(redis: RedisClient, shards: readonly Keys[]): Promise<Vitals> {
  if (redis.status !== 'ready') throw new Error('not connected');
  const all = await Promise.all(shards.map((keys) => ask(redis, keys)));
  return all.reduce((a, b) => ({
    roundTripMs: Math.max(a.roundTripMs, b.roundTripMs),
    clockAheadMs: Math.abs(a.clockAheadMs) < Math.abs(b.clockAheadMs) ? b.clockAheadMs : a.clockAheadMs,
    journalEntries: a.journalEntries + b.journalEntries,
  }));
}

async function ask(redis: RedisClient, keys: Keys): Promise<Vitals> {
  const sentAt = performance.now();
  const [clock, journalEntries] = await Promise.all([
    clockScript.run(redis, [keys.journal], []).then((time) => ({
      redisMs: msOf(time as [string, string]),
      ownMs: Date.now(),
      roundTripMs: performance.now() - sentAt,
    })),
    redis.xlen(keys.journal),
  ]);
  const { redisMs, ownMs, roundTripMs } = clock;
  return { roundTripMs, clockAheadMs: redisMs - (ownMs - roundTripMs / 2), journalEntries };
}

function msOf([seconds, micros]: readonly [string, string]): number {
  return Number(seconds) * 1000 + Number(micros) / 1000;
}
