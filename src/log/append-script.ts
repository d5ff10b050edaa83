import { Script } from './script.ts';

/** Lua: what is wrong with a key that isn't of the type wanted, for a script to answer. */
export const LUA_CORRUPT = `
local function corrupt(key, wanted)
  local type = redis.call('TYPE', key).ok
  if type ~= 'none' and type ~= wanted then return {'corrupt', key, 'is a ' .. type .. ', not a ' .. wanted} end
end

-- Asking for each key's type beforehand would take as long as all the rest.
local function read(command, key, wanted, ...)
  local value = redis.pcall(command, key, ...)
  if type(value) == 'table' and value.err then return nil, corrupt(key, wanted) or {'corrupt', key, value.err} end
  return value
end
`;

/**
 * Lua: `nowMs()`, the same throughout a script; `lastId(stream)`; and `nextId(a, b)`, later than the last ids given (both
 * optional) and not before the clock, or nil and the id after which there is none.
 */
export const LUA_IDS = `
local clockMs
local function nowMs()
  if not clockMs then
    local time = redis.call('TIME')
    clockMs = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  end
  return clockMs
end

-- Halves of ids are 64 bits wide, Lua's numbers 53: they are compared as decimals.
local function isLess(a, b)
  if #a ~= #b then return #a < #b end
  return a < b
end

local function later(a, b)
  if a == b then return a end
  local aMs, aSeq = a:match('^(%d+)%-(%d+)$')
  local bMs, bSeq = b:match('^(%d+)%-(%d+)$')
  if aMs == bMs then
    if isLess(aSeq, bSeq) then return b end
    return a
  end
  if isLess(aMs, bMs) then return b end
  return a
end

local function successor(id)
  local ms, seq = id:match('^(%d+)%-(%d+)$')
  if #seq <= 15 then return ms .. '-' .. string.format('%.0f', tonumber(seq) + 1) end
  if #ms <= 15 then return string.format('%.0f', tonumber(ms) + 1) .. '-0' end
end

-- Without one: the error, which tells of another type.
local function lastId(key)
  local info = redis.pcall('XINFO', 'STREAM', key)
  if info.err then
    if info.err:find('no such key', 1, true) then return '0-0' end
    return nil, info
  end
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then return info[i + 1] end
  end
end

local function nextId(a, b)
  local last = a and b and later(a, b) or a or b
  local now = string.format('%.0f', nowMs())
  if not last or isLess(last:match('^%d+'), now) then return now .. '-0' end
  local next = successor(last)
  if next then return next end
  return nil, last
end
`;

/**
 * Appends entries in the order given, each as if it were alone. KEYS: journal, epoch; then for each durable entry: room log,
 * room, the user's two counts of posts, and, where there is a clientId, sent. ARGV: journalEntries, roomLogEntries, new
 * epoch, sent's life in ms, 1 if a WAIT follows; then for each entry: how many keys it has (none: it isn't durable), to,
 * kind, data, digest, and how many posts there may be in a second (empty: any), and in a burst beyond that.
 *
 * Answers for each {'appended', id}, {'known', id}, {'reused'}, {'no_room'}, {'closed'}, {'too_fast', ms until the next may
 * come} or {'corrupt', key, what is wrong with it}. A post is counted first, whatever becomes of it; then all reading and
 * deciding comes before its first write, and no write after it can fail, so an entry is never half there. What Redis
 * refuses to a whole script (its memory is full, it is a replica now) it refuses at the first write, hence to all entries.
 * The new id is later than both streams' last ones, even if the clock was set back or one ran ahead.
 *
 * The room remembers the last id of its log, since asking the stream costs a third of the script; and the n that it came
 * with, so that whoever counts on without it is noticed. Should the log be further, it refuses the id, which is the first
 * write; then the stream is asked.
 */
export const appendScript = new Script(`
${LUA_CORRUPT}${LUA_IDS}
local journal, epoch = KEYS[1], KEYS[2]
local journalEntries, roomLogEntries, newEpoch, sentLifeMs, isWaitedFor = unpack(ARGV, 1, 5)

-- What a stream's last id is, or what is wrong with it.
local function readLast(stream)
  local last, failed = lastId(stream)
  if last then return last end
  return nil, corrupt(stream, 'stream') or {'corrupt', stream, failed.err}
end

-- Within so many of a time that begins with the first.
local function isWithin(limit, key, lifeMs)
  local n = redis.pcall('INCR', key)
  if type(n) == 'table' then
    if n.err:find('^WRONGTYPE') or n.err:find('^ERR') then return nil, {'corrupt', key, 'is not a count'} end
    -- It isn't this key that Redis refuses, so the script ends with its error.
    n = redis.call('INCR', key)
  end
  if n == 1 then redis.call('PEXPIRE', key, lifeMs) end
  return n <= tonumber(limit)
end

local function tooFast(steady, burst, perSecond, burstMost)
  local isPaced, bad = isWithin(perSecond, steady, 1000)
  if bad or isPaced then return bad end
  isPaced, bad = isWithin(burstMost, burst, 60000)
  if bad or isPaced then return bad end
  return {'too_fast', redis.call('PTTL', steady)}
end

-- An answer, if the same was said before.
local function recall(sent, digest)
  local known, bad = read('GET', sent, 'string')
  if bad or not known then return bad end
  local id, knownDigest = known:match('^(%d+%-%d+) (.*)$')
  if not id then return {'corrupt', sent, 'is not an id and a digest'} end
  if knownDigest ~= digest then return {'reused'} end
  -- WAIT waits for its own connection's last write: so here is one, of what is there already.
  if isWaitedFor == '1' then redis.call('SET', sent, known, 'KEEPTTL') end
  return {'known', id}
end

-- The count, or what is wrong; and the last id of the room's log, where it is known.
local function nextCount(room)
  local fields, bad = read('HMGET', room, 'hash', 'n', 'closed', 'last')
  if bad then return nil, bad end
  local n, isClosed, last = fields[1], fields[2], fields[3]
  if isClosed then return nil, {'closed'} end
  if not n then
    if redis.call('EXISTS', room) == 0 then return nil, {'no_room'} end
    n = '0'
  end
  if not n:match('^%d+$') or #n > 15 then return nil, {'corrupt', room, 'has an n that is no count'} end
  local known, id = (last or ''):match('^(%d+) (%d+%-%d+)$')
  return string.format('%.0f', tonumber(n) + 1), nil, known == n and id or nil
end

-- Read before the first entry that needs them; from then on nobody else writes them.
local named, before

local function append(log, room, steady, burst, sent, to, kind, data, digest, perSecond, burstMost)
  local refused, bad, count, prev
  if log then
    refused = perSecond ~= '' and tooFast(steady, burst, perSecond, burstMost) or sent and recall(sent, digest)
    if refused then return refused end
    count, bad, prev = nextCount(room)
    if bad then return bad end
  end

  if not before then
    named, bad = read('GET', epoch, 'string')
    if bad then return bad end
    before, bad = readLast(journal)
    if bad then return bad end
  end
  if log and not prev then
    prev, bad = readLast(log)
    if bad then return bad end
  end
  local id, usedUp = nextId(before, prev)
  local function addToLog(run)
    if not id then return {err = 'no id is left'} end
    return run('XADD', log, 'MAXLEN', '~', roomLogEntries, id, 'kind', kind, 'prev', prev, 'n', count, 'data', data)
  end
  if log and type(addToLog(redis.pcall)) == 'table' then
    prev, bad = readLast(log)
    if bad then return bad end
    id, usedUp = nextId(before, prev)
    if id then addToLog(redis.call) end
  end
  if not id then return {'corrupt', journal, 'or the room log has used up its ids: ' .. usedUp} end

  if not named then
    redis.call('SET', epoch, newEpoch)
    named = newEpoch
  end
  if log then
    redis.call('XADD', journal, 'MAXLEN', '~', journalEntries, id,
      'to', to, 'kind', kind, 'before', before, 'prev', prev, 'n', count, 'data', data)
    redis.call('HSET', room, 'n', count, 'last', count .. ' ' .. id)
    if sent then redis.call('SET', sent, id .. ' ' .. digest, 'PX', sentLifeMs) end
  else
    redis.call('XADD', journal, 'MAXLEN', '~', journalEntries, id, 'to', to, 'kind', kind, 'before', before, 'data', data)
  end
  before = id
  return {'appended', id}
end

local answers = {}
local key = 3
for arg = 6, #ARGV, 7 do
  local count = tonumber(ARGV[arg])
  local log, room, steady, burst, sent
  if count > 0 then log, room, steady, burst, sent = unpack(KEYS, key, key + count - 1) end
  answers[#answers + 1] = append(log, room, steady, burst, sent, unpack(ARGV, arg + 1, arg + 6))
  key = key + count
end
return answers
`);
