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

local function lastId(key)
  if redis.call('EXISTS', key) == 0 then return '0-0' end
  local info = redis.call('XINFO', 'STREAM', key)
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
 * KEYS: journal, epoch; for a durable entry also: room log, room, and, where there is a clientId, sent.
 * ARGV: to, kind, data, journalEntries, new epoch; for a durable entry also: roomLogEntries, digest, sent's life in ms,
 * and 1 if a WAIT follows.
 *
 * Answers {'appended', id}, {'known', id}, {'reused'}, {'no_room'}, {'closed'} or {'corrupt', key, what is wrong with it}.
 * All reading and deciding comes before the first write, and no write after it can fail, so an entry is never half
 * there. The new id is later than both streams' last ones, even if the clock was set back or one ran ahead.
 */
export const appendScript = new Script(`
${LUA_CORRUPT}${LUA_IDS}
local journal, epoch, log, room, sent = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local isDurable = log ~= nil
local hasClientId = sent ~= nil

local bad = corrupt(journal, 'stream') or corrupt(epoch, 'string')
if isDurable and not bad then
  bad = corrupt(log, 'stream') or corrupt(room, 'hash')
  if hasClientId and not bad then bad = corrupt(sent, 'string') end
end
if bad then return bad end

if hasClientId then
  local known = redis.call('GET', sent)
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
  if redis.call('EXISTS', room) == 0 then return {'no_room'} end
  if redis.call('HEXISTS', room, 'closed') == 1 then return {'closed'} end
  local n = redis.call('HGET', room, 'n') or '0'
  if not n:match('^%d+$') or #n > 15 then return {'corrupt', room, 'has an n that is no count'} end
  count = string.format('%.0f', tonumber(n) + 1)
end

local before = lastId(journal)
local prev = isDurable and lastId(log)
local id, usedUp = nextId(before, prev or before)
if not id then return {'corrupt', journal, 'or the room log has used up its ids: ' .. usedUp} end

redis.call('SET', epoch, ARGV[5], 'NX')
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
