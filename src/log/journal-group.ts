import type { StreamId } from '../chat/ids.ts';
import { LUA_IDS } from './append-script.ts';
import { type JournalEntry, journalEntry } from './journal.ts';
import type { Keys } from './keys.ts';
import type { RedisClient } from './redis-client.ts';
import { Script } from './script.ts';

type RawEntry = [id: string, fields: string[]];

/** What a group read. */
export interface GroupRead {
  readonly entries: readonly JournalEntry[];
  /** How many entries left the journal unread, at least; the group goes on after `floor`. */
  readonly missed: number;
  readonly floor: string;
}

/**
 * KEYS: journal. ARGV: group, consumer, count. Answers {missed, floor, entries}, or {'no_group'}.
 * Looking for what was trimmed and reading are one step, so that nothing leaves uncounted in between.
 */
const readScript = new Script(`
${LUA_IDS}
local function valueOf(info, name)
  for i = 1, #info, 2 do
    if info[i] == name then return info[i + 1] end
  end
end

if redis.call('EXISTS', KEYS[1]) == 0 then return {'no_group'} end
local group
for _, info in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  if valueOf(info, 'name') == ARGV[1] then group = info end
end
if not group then return {'no_group'} end

local stream = redis.call('XINFO', 'STREAM', KEYS[1])
local first = valueOf(stream, 'first-entry')
local floor = first and valueOf(first[2], 'before')
local at = valueOf(group, 'last-delivered-id')
local missed = 0
if floor and at ~= floor and later(at, floor) == floor then
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
end
local read = redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', ARGV[3], 'STREAMS', KEYS[1], '>')
return {missed, floor or '0-0', read and read[1] and read[1][2] or {}}
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
  readonly #group: string;
  readonly #consumer: string;

  /** `consumer` names this process. */
  constructor(redis: RedisClient, keys: Keys, hook: string, consumer: string) {
    this.#redis = redis;
    this.#journal = keys.journal;
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

  async destroy(): Promise<void> {
    if ((await this.#redis.exists(this.#journal)) === 1)
      await this.#redis.xgroup('DESTROY', this.#journal, this.#group);
  }

  /** Takes entries that nobody was given yet; undefined where there is no such group. */
  async read(count: number): Promise<GroupRead | undefined> {
    const answer = (await readScript.run(
      this.#redis,
      [this.#journal],
      [this.#group, this.#consumer, count],
    )) as ['no_group'] | [number, string, RawEntry[]];
    if (answer[0] === 'no_group') return undefined;
    const [missed, floor, entries] = answer as [number, string, RawEntry[]];
    return { missed, floor, entries: entries.map(journalEntry) };
  }

  /** Takes over entries that nobody renewed for so long. `missed`: how many of those have left the journal. */
  async claim(idleMs: number, count: number): Promise<Pick<GroupRead, 'entries' | 'missed'>> {
    const [, entries, gone] = (await this.#redis.xautoclaim(
      this.#journal,
      this.#group,
      this.#consumer,
      idleMs,
      '0-0',
      'COUNT',
      count,
    )) as [string, (RawEntry | null)[], string[] | undefined];
    // Before Redis 7 one that has left the journal comes as null.
    const there = entries.filter((entry) => entry !== null);
    return { entries: there.map(journalEntry), missed: gone?.length ?? 0 };
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
