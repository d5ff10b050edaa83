import type { ChainableCommander } from 'ioredis';
import type { LoggedEntry } from '../chat/entries.ts';
import { compareIds, type StreamId, streamId, ZERO_ID } from '../chat/ids.ts';
import type { JournalFacts } from '../chat/vouching.ts';
import { readEpoch } from './epoch.ts';
import type { Address, Keys } from './keys.ts';
import type { RedisClient } from './redis-client.ts';

/** An entry of the journal: whom it is for, and the id before it there. */
export interface JournalEntry extends LoggedEntry {
  readonly to: Address;
  readonly before: StreamId;
}

/** The newest entries of the journal, oldest first, and the id that they follow. */
export interface JournalEnd {
  readonly epoch: string;
  readonly start: StreamId;
  readonly last: StreamId;
  readonly entries: readonly JournalEntry[];
}

type RawEntry = [id: string, fields: string[]];

const FILL_PAGE_ENTRIES = 500;

/** Reads an entry of the journal or of a room log as Redis gives it. */
export function loggedEntry(raw: RawEntry): LoggedEntry {
  const { id, kind, prev, n, data } = journalEntry(raw);
  return { id, kind, prev, n, data };
}

/** Reads an entry of the journal as Redis gives it. */
export function journalEntry([id, fields]: RawEntry): JournalEntry {
  let to = 'room:';
  let kind = 'unknown';
  let prev: string = ZERO_ID;
  let before: string = ZERO_ID;
  let n = 0;
  let data = '{}';
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const value = fields[i + 1] as string;
    switch (fields[i]) {
      case 'to':
        to = value;
        break;
      case 'kind':
        kind = value;
        break;
      case 'prev':
        prev = value;
        break;
      case 'before':
        before = value;
        break;
      case 'n':
        n = Number(value);
        break;
      case 'data':
        data = value;
        break;
    }
  }
  return {
    id: streamId(id),
    kind,
    prev: streamId(prev),
    n,
    data,
    to: to as Address,
    before: streamId(before),
  };
}

/** A stream's last-generated id and oldest entry, from XINFO STREAM's answer; both absent for a stream that isn't there. */
export function streamInfo(reply: TransactionReply): { last: StreamId; first: RawEntry | undefined } {
  const [error, answer] = reply;
  if (error?.message.includes('no such key')) return { last: ZERO_ID, first: undefined };
  if (error) throw error;
  const info = answer as unknown[];
  const value = (name: string) => info[info.indexOf(name) + 1];
  return {
    last: streamId(value('last-generated-id')),
    first: (value('first-entry') as RawEntry | null) ?? undefined,
  };
}

/** One command's answer in a transaction. */
export type TransactionReply = [error: Error | null, answer: unknown];

/** Runs a transaction; rejects if it was not executed. */
export async function execute(transaction: ChainableCommander): Promise<TransactionReply[]> {
  const replies = await transaction.exec();
  if (replies === null) throw new Error('the transaction was discarded');
  return replies;
}

/** The answer, or the error thrown. */
export function answerOf(reply: TransactionReply | undefined): unknown {
  if (reply === undefined) throw new Error('the transaction answered too little');
  if (reply[0]) throw reply[0];
  return reply[1];
}

/** How many answers `queueFacts` adds to a transaction. */
export const FACTS_REPLIES = 3;

/** Asks, within a transaction, what `factsFrom` needs to know of an id. */
export function queueFacts(transaction: ChainableCommander, keys: Keys, id: StreamId): ChainableCommander {
  return transaction.get(keys.epoch).xinfo('STREAM', keys.journal).xrange(keys.journal, id, '+', 'COUNT', 2);
}

/** The journal's word on an id; undefined if the history has no name (then `readEpoch` names it, and one asks again). */
export function factsFrom(replies: readonly TransactionReply[], id: StreamId): JournalFacts | undefined {
  const epoch = answerOf(replies[0]) as string | null;
  if (epoch === null) return undefined;
  const { last, first } = streamInfo(replies[1] as TransactionReply);
  const entries = (answerOf(replies[2]) as RawEntry[]).map(journalEntry);
  return {
    epoch,
    last,
    base: first === undefined ? last : journalEntry(first).before,
    isHeld: entries[0]?.id === id,
    nextBefore: entries.find((entry) => compareIds(entry.id, id) > 0)?.before,
  };
}

/** What the journal says of an id. */
export async function readFacts(redis: RedisClient, keys: Keys, id: StreamId): Promise<JournalFacts> {
  for (;;) {
    const facts = factsFrom(await execute(queueFacts(redis.multi(), keys, id)), id);
    if (facts !== undefined) return facts;
    await readEpoch(redis, keys);
  }
}

/** The journal's newest entries, within both bounds, oldest first. */
export async function readJournalEnd(
  redis: RedisClient,
  keys: Keys,
  bounds: { readonly entries: number; readonly bytes: number },
): Promise<JournalEnd> {
  const epoch = await readEpoch(redis, keys);
  const pageEntries = Math.min(bounds.entries, FILL_PAGE_ENTRIES);
  const replies = await execute(
    redis
      .multi()
      .get(keys.epoch)
      .xinfo('STREAM', keys.journal)
      .xrevrange(keys.journal, '+', '-', 'COUNT', pageEntries),
  );
  if (answerOf(replies[0]) !== epoch) throw new Error('the epoch changed while the journal was read');
  const { last } = streamInfo(replies[1] as TransactionReply);
  let page = (answerOf(replies[2]) as RawEntry[]).map(journalEntry);
  const newestFirst: JournalEntry[] = [];
  for (let bytes = 0; page.length > 0; ) {
    newestFirst.push(...page);
    bytes += page.reduce((sum, entry) => sum + entry.data.length, 0);
    const oldest = page.at(-1) as JournalEntry;
    const wanted = Math.min(pageEntries, bounds.entries - newestFirst.length);
    if (page.length < pageEntries || wanted <= 0 || bytes >= bounds.bytes) break;
    page = (await redis.xrevrange(keys.journal, `(${oldest.id}`, '-', 'COUNT', wanted)).map(journalEntry);
  }
  return { epoch, last, start: newestFirst.at(-1)?.before ?? last, entries: newestFirst.reverse() };
}
