import { Script } from './script.ts';

/** Lua: what is wrong with a key that isn't of the type wanted, for a script to answer. */
export const LUA_CORRUPT = `
local function corrupt(key, wanted)
  local type = redis.call('TYPE', key).ok
  if type ~= 'none' and type ~= wanted then return {'corrupt', key, 'is a ' .. type .. ', not a ' .. wanted} end
end
`;

/**
 * Lua: `nowMs()`; `lastId(stream)`; and `nextId(…)`, later than the clock and than the last ids given, or nil and the id
 * after which there is none.
 */
export const LUA_IDS = `
local function nowMs()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- Halves of ids are 64 bits wide, Lua's numbers 53: they are compared as decimals.
local function isLess(a, b)
  if #a ~= #b then return #a < #b end
  return a < b
end

local function later(a, b)
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

local function nextId(...)
  local id = string.format('%.0f', nowMs()) .. '-0'
  for _, last in ipairs({...}) do
    local next = successor(last)
    if not next then return nil, last end
    id = later(id, next)
  end
  return id
end
`;

/**
 * KEYS: journal, epoch; for a durable entry also: room log, room, the user's two counts of posts, and, where there is a
 * clientId, sent. ARGV: to, kind, data, journalEntries, new epoch; for a durable entry also: roomLogEntries, digest,
 * sent's life in ms, 1 if a WAIT follows, and how many posts there may be in a second (empty: any), and in a burst beyond that.
 *
 * Answers {'appended', id}, {'known', id}, {'reused'}, {'no_room'}, {'closed'}, {'too_fast', ms until the next may come} or
 * {'corrupt', key, what is wrong with it}. A post is counted first, whatever becomes of it; then all reading and deciding comes before the first write, and no write after it can fail, so an entry is never half
 * there. The new id is later than both streams' last ones, even if the clock was set back or one ran ahead.
 */
export const appendScript = new Script(`
${LUA_CORRUPT}${LUA_IDS}
local journal, epoch, log, room, steady, burst, sent = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local isDurable = log ~= nil
local hasClientId = sent ~= nil

-- Asking for each key's type beforehand would take as long as all the rest.
local function read(command, key, wanted, ...)
  local value = redis.pcall(command, key, ...)
  if type(value) == 'table' and value.err then return nil, corrupt(key, wanted) or value end
  return value
end

-- Within so many of a time that begins with the first.
local function isWithin(limit, key, lifeMs)
  local n = redis.call('INCR', key)
  if n == 1 then redis.call('PEXPIRE', key, lifeMs) end
  return n <= tonumber(limit)
end

if isDurable and ARGV[10] ~= '' and not isWithin(ARGV[10], steady, 1000) and not isWithin(ARGV[11], burst, 60000) then
  return {'too_fast', redis.call('PTTL', steady)}
end

if hasClientId then
  local known, bad = read('GET', sent, 'string')
  if bad then return bad end
  if known then
    local id, digest = known:match('^(%d+%-%d+) (.*)$')
    if not id then return {'corrupt', sent, 'is not an id and a digest'} end
    if digest ~= ARGV[7] then return {'reused'} end
    -- WAIT waits for its own connection's last write: so here is one, of what is there already.
    if ARGV[9] == '1' then redis.call('SET', sent, known, 'KEEPTTL') end
    return {'known', id}
  end
end

local count
if isDurable then
  local fields, bad = read('HMGET', room, 'hash', 'n', 'closed')
  if bad then return bad end
  local n, isClosed = fields[1], fields[2]
  if isClosed then return {'closed'} end
  if not n then
    if redis.call('EXISTS', room) == 0 then return {'no_room'} end
    n = '0'
  end
  if not n:match('^%d+$') or #n > 15 then return {'corrupt', room, 'has an n that is no count'} end
  count = string.format('%.0f', tonumber(n) + 1)
end

local named, bad = read('GET', epoch, 'string')
if bad then return bad end
local before, failed = lastId(journal)
if not before then return corrupt(journal, 'stream') or failed end
local prev
if isDurable then
  prev, failed = lastId(log)
  if not prev then return corrupt(log, 'stream') or failed end
end
local id, usedUp = nextId(before, prev or before)
if not id then return {'corrupt', journal, 'or the room log has used up its ids: ' .. usedUp} end

if not named then redis.call('SET', epoch, ARGV[5]) end
if isDurable then
  redis.call('XADD', journal, 'MAXLEN', '~', ARGV[4], id,
    'to', ARGV[1], 'kind', ARGV[2], 'before', before, 'prev', prev, 'n', count, 'data', ARGV[3])
  redis.call('XADD', log, 'MAXLEN', '~', ARGV[6], id, 'kind', ARGV[2], 'prev', prev, 'n', count, 'data', ARGV[3])
  redis.call('HSET', room, 'n', count)
  if hasClientId then redis.call('SET', sent, id .. ' ' .. ARGV[7], 'PX', ARGV[8]) end
else
  redis.call('XADD', journal, 'MAXLEN', '~', ARGV[4], id, 'to', ARGV[1], 'kind', ARGV[2], 'before', before, 'data', ARGV[3])
end
return {'appended', id}
`);
