import type { LoggedEntry } from '../chat/entries.ts';
import { compareIds, MAX_ID, type StreamId, ZERO_ID } from '../chat/ids.ts';
import type { RoomKey } from '../chat/rooms.ts';
import type { JournalFacts } from '../chat/vouching.ts';
import { readEpoch } from './epoch.ts';
import {
  answerOf,
  execute,
  FACTS_REPLIES,
  factsFrom,
  loggedEntry,
  queueFacts,
  readFacts,
  streamInfo,
  type TransactionReply,
} from './journal.ts';
import type { Keys } from './keys.ts';
import type { RedisClient } from './redis-client.ts';

/** What a room's log holds after a cursor. */
export interface RoomPage {
  readonly room: RoomKey;
  /** All that was said up to it has left the log. */
  readonly floor: StreamId;
  readonly oldest: StreamId | undefined;
  readonly entries: readonly LoggedEntry[];
  /** Whether the log holds more before the end asked for. */
  readonly isCut: boolean;
}

/** What several rooms' logs hold after a cursor, and the journal's word on that cursor: all read in one transaction. */
export interface Page {
  readonly facts: JournalFacts;
  readonly rooms: readonly RoomPage[];
}

/** A page of one room's history, oldest first. */
export interface History {
  readonly facts: JournalFacts;
  readonly floor: StreamId;
  readonly entries: readonly LoggedEntry[];
  /** Whether there is more in the direction read. */
  readonly hasMore: boolean;
}

/** Where a page of history lies: before an id (newest without one), or after one. */
export type Direction = { readonly before?: StreamId } | { readonly after: StreamId };

type RawEntries = [id: string, fields: string[]][];

const REPLIES_A_ROOM = 2;

/** Reads the room logs, always together with what is needed to tell whether they can be trusted. */
export class LogReader {
  readonly #redis: RedisClient;
  readonly #keys: Keys;

  constructor(redis: RedisClient, keys: Keys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  /** What the journal says of an id. */
  facts(id: StreamId): Promise<JournalFacts> {
    return readFacts(this.#redis, this.#keys, id);
  }

  /** What the rooms' logs hold in `(after, end]`, at most `limit` entries of each. */
  async page(rooms: readonly RoomKey[], after: StreamId, end: StreamId, limit: number): Promise<Page> {
    for (;;) {
      const transaction = queueFacts(this.#redis.multi(), this.#keys, after);
      for (const room of rooms) {
        const log = this.#keys.log(room);
        transaction.xinfo('STREAM', log).xrange(log, exclusive(after), end, 'COUNT', limit + 1);
      }
      const replies = await execute(transaction);
      const facts = factsFrom(replies, after);
      if (facts !== undefined)
        return { facts, rooms: rooms.map((room, i) => roomPage(room, replies, i, limit)) };
      await readEpoch(this.#redis, this.#keys);
    }
  }

  /** A page of a room's history, at most `limit` entries. */
  async history(room: RoomKey, direction: Direction, limit: number): Promise<History> {
    const log = this.#keys.log(room);
    for (;;) {
      const transaction = queueFacts(this.#redis.multi(), this.#keys, ZERO_ID).xinfo('STREAM', log);
      if ('after' in direction) transaction.xrange(log, exclusive(direction.after), '+', 'COUNT', limit + 1);
      else
        transaction.xrevrange(
          log,
          direction.before ? exclusive(direction.before) : '+',
          '-',
          'COUNT',
          limit + 1,
        );
      const replies = await execute(transaction);
      const facts = factsFrom(replies, ZERO_ID);
      if (facts !== undefined) {
        const raw = answerOf(replies[FACTS_REPLIES + 1]) as RawEntries;
        const entries = raw.slice(0, limit).map(loggedEntry);
        if (!('after' in direction)) entries.reverse();
        return { facts, floor: floorOf(replies[FACTS_REPLIES]), entries, hasMore: raw.length > limit };
      }
      await readEpoch(this.#redis, this.#keys);
    }
  }
}

/** Redis refuses to exclude the first and the last id there can be; no entry has them. */
function exclusive(id: StreamId): string {
  return id === ZERO_ID || id === MAX_ID ? id : `(${id}`;
}

function roomPage(
  room: RoomKey,
  replies: readonly TransactionReply[],
  index: number,
  limit: number,
): RoomPage {
  const at = FACTS_REPLIES + index * REPLIES_A_ROOM;
  const raw = answerOf(replies[at + 1]) as RawEntries;
  const { first } = streamInfo(replies[at] as TransactionReply);
  return {
    room,
    floor: floorOf(replies[at]),
    oldest: first === undefined ? undefined : loggedEntry(first).id,
    entries: raw.slice(0, limit).map(loggedEntry),
    isCut: raw.length > limit,
  };
}

/** `prev` of the oldest entry left, or the last-generated id if none is left: trimming moves it, erasing in the middle doesn't. */
function floorOf(info: TransactionReply | undefined): StreamId {
  const { last, first } = streamInfo(info as TransactionReply);
  if (first === undefined) return last;
  const oldest = loggedEntry(first);
  return compareIds(oldest.prev, oldest.id) < 0 ? oldest.prev : ZERO_ID;
}
