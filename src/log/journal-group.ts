import type { StreamId } from '../chat/ids.ts';
import { LUA_IDS } from './append-script.ts';
import { type JournalEntry, journalEntry } from './journal.ts';
import type { Keys } from './keys.ts';
import type { RedisClient } from './redis-client.ts';
import { Script } from './script.ts';

type RawEntry = [id: string, fields: string[]];

/** That events up to an id may be missing, and why: the receiver is owed that word. */
export interface OwedGap {
  readonly upTo: string;
  readonly reason: 'trimmed' | 'rollback';
}

/** What a group read. */
export interface GroupRead {
  readonly entries: readonly JournalEntry[];
  /** How many entries left the journal before they were taken, at least. */
  readonly missed: number;
  /** This process' own to tell, as the entries are. */
  readonly gap: OwedGap | undefined;
}

/** Lua: what XINFO says; that the receiver is owed a gap; and where the journal begins. Needs LUA_IDS. */
const LUA_OWED = `
local function valueOf(info, name)
  for i = 1, #info, 2 do
    if info[i] == name then return info[i + 1] end
  end
end

local function owe(owed, upTo, reason)
  local known = redis.call('HGET', owed, 'upTo')
  redis.call('HSET', owed, 'upTo', known and later(known, upTo) or upTo, 'reason', reason)
end

local function floorOf(stream)
  local first = valueOf(stream, 'first-entry')
  if first then return valueOf(first[2], 'before') or '0-0' end
  return valueOf(stream, 'last-generated-id')
end
`;

/**
 * KEYS: journal, owed. ARGV: group, consumer, count, lease in ms. Answers {missed, entries, upTo, reason}, the last two only
 * where there is a gap to tell; fails with NOGROUP. Looking for what was trimmed, owing it and reading are one step, so that
 * nothing leaves unsaid in between, whoever dies then.
 */
const readScript = new Script(`
${LUA_IDS}${LUA_OWED}
local group
for _, info in ipairs(redis.call('EXISTS', KEYS[1]) == 1 and redis.call('XINFO', 'GROUPS', KEYS[1]) or {}) do
  if valueOf(info, 'name') == ARGV[1] then group = info end
end
if not group then return redis.error_reply('NOGROUP ' .. ARGV[1]) end

local stream = redis.call('XINFO', 'STREAM', KEYS[1])
local floor = floorOf(stream)
local at = valueOf(group, 'last-delivered-id')
local missed = 0
if at ~= floor and later(at, floor) == floor then
  -- Redis 7 counts; before it one only knows that there was something.
  local added, read = valueOf(stream, 'entries-added'), valueOf(group, 'entries-read')
  if added and read then
    local gone = added - valueOf(stream, 'length')
    missed = math.max(1, gone - read)
    redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], floor, 'ENTRIESREAD', gone)
  else
    missed = 1
    redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], floor)
  end
  owe(KEYS[2], floor, 'trimmed')
end
local read = redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', ARGV[3], 'STREAMS', KEYS[1], '>')
local answer = {missed, read and read[1] and read[1][2] or {}}
local gap = redis.call('HMGET', KEYS[2], 'upTo', 'reason', 'until')
if gap[1] and (not gap[3] or tonumber(gap[3]) < nowMs()) then
  redis.call('HSET', KEYS[2], 'by', ARGV[2], 'until', string.format('%.0f', nowMs() + ARGV[4]))
  answer[3], answer[4] = gap[1], gap[2]
end
return answer
`);

/**
 * KEYS: journal, owed. ARGV: group, consumer, least idle time in ms, count. Answers {missed, entries}. Before Redis 7 what has
 * left the journal would stay the group's for ever: so it is looked for here.
 */
const claimScript = new Script(`
${LUA_IDS}${LUA_OWED}
local claimed = redis.call('XAUTOCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], '0-0', 'COUNT', ARGV[4], 'JUSTID')
local entries, gone = {}, claimed[3] or {}
for _, id in ipairs(claimed[2]) do
  local entry = redis.call('XRANGE', KEYS[1], id, id)[1]
  if entry then
    entries[#entries + 1] = entry
  else
    redis.call('XACK', KEYS[1], ARGV[1], id)
    gone[#gone + 1] = id
  end
end
if #gone > 0 then
  local upTo = floorOf(redis.call('XINFO', 'STREAM', KEYS[1]))
  for _, id in ipairs(gone) do upTo = later(upTo, id) end
  owe(KEYS[2], upTo, 'trimmed')
end
return {#gone, entries}
`);

/** KEYS: journal, owed. ARGV: group. Answers 0 where there is one already. */
const restoreScript = new Script(`
${LUA_IDS}${LUA_OWED}
local last = lastId(KEYS[1])
local made = redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], '$', 'MKSTREAM')
if made.err then
  if made.err:find('BUSYGROUP', 1, true) then return 0 end
  return made
end
if last == '0-0' then last = nextId() end
owe(KEYS[2], last, 'rollback')
return 1
`);

/** KEYS: owed. ARGV: consumer, for how long in ms. Of another process' gap nothing is said. */
const holdGapScript = new Script(`
${LUA_IDS}
if redis.call('HGET', KEYS[1], 'by') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'until', string.format('%.0f', nowMs() + ARGV[2]))
return 1
`);

/** KEYS: owed. ARGV: consumer, what was told. What came to be owed meanwhile is still to be told. */
const settleGapScript = new Script(`
if redis.call('HGET', KEYS[1], 'upTo') == ARGV[2] then return redis.call('DEL', KEYS[1]) end
if redis.call('HGET', KEYS[1], 'by') == ARGV[1] then redis.call('HDEL', KEYS[1], 'by', 'until') end
return 0
`);

/** KEYS: journal. ARGV: group, least idle time in ms. Takes away consumers that are gone and left nothing. */
const tidyScript = new Script(`
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
for _, info in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local consumer = {}
  for i = 1, #info, 2 do consumer[info[i]] = info[i + 1] end
  if consumer.pending == 0 and consumer.idle >= tonumber(ARGV[2]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], consumer.name)
  end
end
return 1
`);

/**
 * One webhook's place in its shard's journal, which all processes share: each entry is given to one of them, and stays
 * its own for as long as it renews it, until it is settled.
 */
export class JournalGroup {
  readonly #redis: RedisClient;
  readonly #journal: string;
  readonly #owed: string;
  readonly #group: string;
  readonly #consumer: string;

  /** `consumer` names this process. */
  constructor(redis: RedisClient, keys: Keys, hook: string, consumer: string) {
    this.#redis = redis;
    this.#journal = keys.journal;
    this.#owed = keys.owedGap(hook);
    this.#group = `webhook:${hook}`;
    this.#consumer = consumer;
  }

  /** From now on what is said waits for it. Safe to repeat. */
  async create(): Promise<void> {
    try {
      await this.#redis.xgroup('CREATE', this.#journal, this.#group, '$', 'MKSTREAM');
    } catch (error) {
      if (!(error as Error).message.startsWith('BUSYGROUP')) throw error;
    }
  }

  /**
   * Makes a group that got lost: from now on what is said waits for it, and what was said until now the receiver is told to be
   * missing, since nobody knows any more what it heard. False where there is one already.
   */
  async restore(): Promise<boolean> {
    return (await restoreScript.run(this.#redis, [this.#journal, this.#owed], [this.#group])) === 1;
  }

  async destroy(): Promise<void> {
    if ((await this.#redis.exists(this.#journal)) === 1)
      await this.#redis.xgroup('DESTROY', this.#journal, this.#group);
    await this.#redis.del(this.#owed);
  }

  /** Takes entries that nobody was given yet, and a gap that nobody has told for `leaseMs`. Rejects as `isGroupGone` knows. */
  async read(count: number, leaseMs: number): Promise<GroupRead> {
    const [missed, entries, upTo, reason] = (await readScript.run(
      this.#redis,
      [this.#journal, this.#owed],
      [this.#group, this.#consumer, count, leaseMs],
    )) as [number, RawEntry[], string?, OwedGap['reason']?];
    const gap = upTo === undefined ? undefined : { upTo, reason: reason ?? 'trimmed' };
    return { missed, entries: entries.map(journalEntry), gap };
  }

  /**
   * Takes over entries that nobody renewed for so long. Of those that have left the journal (`missed`) a gap is owed. Rejects
   * as `isGroupGone` knows.
   */
  async claim(idleMs: number, count: number): Promise<Pick<GroupRead, 'entries' | 'missed'>> {
    const [missed, entries] = (await claimScript.run(
      this.#redis,
      [this.#journal, this.#owed],
      [this.#group, this.#consumer, idleMs, count],
    )) as [number, RawEntry[]];
    return { entries: entries.map(journalEntry), missed };
  }

  /** Keeps entries this process' own. */
  async renew(ids: readonly StreamId[]): Promise<void> {
    await this.#hold(ids, 0);
  }

  /** Lets others take entries over at once who would wait for `idleMs`. */
  async release(ids: readonly StreamId[], idleMs: number): Promise<void> {
    await this.#hold(ids, idleMs);
  }

  /** Done with these, whatever became of them. */
  async settle(ids: readonly StreamId[]): Promise<void> {
    if (ids.length > 0) await this.#redis.xack(this.#journal, this.#group, ...ids);
  }

  /** Keeps the gap that `read` gave this process its own for so long; 0 leaves it to others. */
  async holdGap(leaseMs: number): Promise<void> {
    await holdGapScript.run(this.#redis, [this.#owed], [this.#consumer, leaseMs]);
  }

  /** The gap up to there was told, or given up. */
  async settleGap(upTo: string): Promise<void> {
    await settleGapScript.run(this.#redis, [this.#owed], [this.#consumer, upTo]);
  }

  /** Forgets processes that are gone and left nothing. */
  async tidy(idleMs: number): Promise<void> {
    await tidyScript.run(this.#redis, [this.#journal], [this.#group, idleMs]);
  }

  async #hold(ids: readonly StreamId[], idleMs: number): Promise<void> {
    const [first, ...others] = ids;
    if (first === undefined) return;
    const idle = ['IDLE', String(idleMs), 'JUSTID'];
    await this.#redis.xclaim(this.#journal, this.#group, this.#consumer, 0, first, ...others, ...idle);
  }
}

/** Whether the group, or its journal, isn't there (any more). */
export function isGroupGone(error: unknown): boolean {
  return error instanceof Error && error.message.includes('NOGROUP');
}
