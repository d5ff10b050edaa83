import { PROBED_CARRIERS } from '../chat/doctor.ts';
import type { EndingCode, GapReason } from '../chat/entries.ts';
import { REFUSALS, type RefusalCode } from '../chat/refusals.ts';
import type { RefillReason } from '../log/tail.ts';

/** Every way in which readers are told. */
export const CARRIERS = [...PROBED_CARRIERS, 'plain'] as const;

export type CarrierName = (typeof CARRIERS)[number];

/** Whether a host vouches for somebody. */
export type UserKind = 'known' | 'guest';

/** How a reader ended: by the service's code, or because its client left or had its poll answered. */
export type EndedBy = EndingCode | 'left';

/**
 * What this service has done since it started, in plain numbers that only grow: to count costs the fast paths an
 * addition, whether anybody reads the counts or not.
 */
export interface Counts {
  /** Posts that were appended, and posts that a `clientId` showed to be repetitions. */
  readonly posts: { accepted: number; repeated: number };
  /** Accepted posts by who sent them: somebody whom a host vouches for, or a guest. */
  readonly postsBy: Record<UserKind, number>;
  /** Log-ins, likewise; of known users those that opened a session or gave a token. */
  readonly logIns: Record<UserKind, number>;
  /** Events told to readers, each reader's counted. */
  events: number;
  /** Runs told to readers: one write each on carriers that stay open, one answer each on polls. */
  runs: number;
  /** Readers that came back with a cursor: told from the window what they had missed, or so far behind that the log was read. */
  readonly catchUps: Record<'window' | 'log', number>;
  /** Pages of room logs read for readers that the window didn't reach back to. */
  logPages: number;
  /** Gaps told, one for each room. */
  readonly gaps: Record<GapReason, number>;
  /** How often a reader's socket was full. */
  slow: number;
  readonly begun: Record<CarrierName, number>;
  readonly ended: Record<CarrierName, Record<EndedBy, number>>;
  readonly refusals: Record<RefusalCode, number>;
  readonly refills: Record<RefillReason, number>;
}

/** Nothing done yet. */
export function newCounts(): Counts {
  return {
    posts: { accepted: 0, repeated: 0 },
    postsBy: { known: 0, guest: 0 },
    logIns: { known: 0, guest: 0 },
    events: 0,
    runs: 0,
    catchUps: { window: 0, log: 0 },
    logPages: 0,
    gaps: { trimmed: 0, rollback: 0, 'unknown-cursor': 0 },
    slow: 0,
    begun: byCarrier(() => 0),
    ended: byCarrier(() => ({
      left: 0,
      shutting_down: 0,
      session_ended: 0,
      rights_changed: 0,
      not_confirmed: 0,
      max_age: 0,
      stalled: 0,
      unavailable: 0,
      unsure: 0,
      too_fast: 0,
      internal: 0,
    })),
    refusals: Object.fromEntries(Object.keys(REFUSALS).map((code) => [code, 0])) as Counts['refusals'],
    refills: { start: 0, outrun: 0, rollback: 0 },
  };
}

/** One value for each carrier. */
export function byCarrier<T>(make: () => T): Record<CarrierName, T> {
  return Object.fromEntries(CARRIERS.map((carrier) => [carrier, make()])) as Record<CarrierName, T>;
}
