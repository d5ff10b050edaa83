import { compareIds, type StreamId } from './ids.ts';

/** What the journal says of one id, read in one transaction. */
export interface JournalFacts {
  readonly epoch: string;
  /** The journal's last-generated id; `0-0` if there is no journal. */
  readonly last: StreamId;
  /** `before` of the oldest entry that the journal holds; `last` if it holds none. */
  readonly base: StreamId;
  /** Whether the journal holds an entry with this very id. */
  readonly isHeld: boolean;
  /** `before` of the first entry after the id, if there is one. */
  readonly nextBefore: StreamId | undefined;
}

/**
 * Whether the journal vouches for an id. `vouched`: it was part of this history. `unjudged`: older than all the journal
 * remembers, which is no sign of a rollback. `rollback`: this history never had it.
 */
export function judge(id: StreamId, facts: JournalFacts): 'vouched' | 'unjudged' | 'rollback' {
  if (id === facts.last || facts.isHeld || facts.nextBefore === id) return 'vouched';
  return compareIds(id, facts.base) < 0 ? 'unjudged' : 'rollback';
}
