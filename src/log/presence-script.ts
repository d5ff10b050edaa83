import { LUA_CORRUPT, LUA_IDS } from './append-script.ts';
import { Script } from './script.ts';

/**
 * What the scripts of presence share. KEYS: journal, epoch, due. ARGV: journalEntries, new epoch, most people of a room
 * whose comings and goings are told. What changes a room also tells its journal, in the same script: so it is told once.
 */
const LUA_PRESENCE = `
${LUA_CORRUPT}${LUA_IDS}
local journal, epoch, due = KEYS[1], KEYS[2], KEYS[3]
local journalEntries, newEpoch, listed = ARGV[1], ARGV[2], tonumber(ARGV[3])
local now = nowMs()

-- What is wrong with what tell() writes to, to be asked before anything is written.
local function brokenJournal()
  return corrupt(journal, 'stream') or corrupt(epoch, 'string')
end

local bad = corrupt(due, 'zset')
if bad then return bad end

local function isSound(presence, here)
  return not corrupt(presence, 'zset') and not corrupt(here, 'hash')
end

local function tell(room, json, isHere)
  local before = lastId(journal)
  local id = nextId(before)
  if not id then return end
  redis.call('SET', epoch, newEpoch, 'NX')
  redis.call('XADD', journal, 'MAXLEN', '~', journalEntries, id, 'to', 'room:' .. room, 'kind', 'presence',
    'before', before, 'data', '{"user":' .. json .. ',"here":' .. tostring(isHere) .. '}')
end

-- For so long at least, and for a quarter longer, so that it needn't be said each time.
local function keepFor(key, ms)
  if redis.call('PTTL', key) < ms then redis.call('PEXPIRE', key, string.format('%.0f', ms * 1.25)) end
end

-- When the room has to be looked at next. After renewals by one of several it may be sooner than need be, and never later.
local function settle(room, presence)
  local first = redis.call('ZRANGE', presence, 0, 0, 'WITHSCORES')
  if first[2] then redis.call('ZADD', due, first[2], room) else redis.call('ZREM', due, room) end
end

-- What makes a room a crowd, and what makes a crowd a room again, is told as well: whoever hears of it knows to ask anew.
local function remove(room, presence, here, user)
  local count = redis.call('HLEN', here)
  local json = redis.call('HGET', here, user)
  redis.call('ZREM', presence, user)
  redis.call('HDEL', here, user)
  if json and count <= listed + 1 then tell(room, json, false) end
end
`;

/**
 * KEYS also: the user's whereabouts; for each room: room, presence, here. ARGV also: user, the user's JSON, the lease and
 * how long keys are kept (ms), whether the user may come to rooms (1) or only stay (0), the rooms. Answers the rooms that
 * the user would have come to, and those with more people than are told of, each as one text.
 */
export const renewScript = new Script(`
${LUA_PRESENCE}
local whereabouts = KEYS[4]
local user, json, lease, keep, mayCome = ARGV[4], ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8] == '1'
local comings, crowded = {}, {}
local till = string.format('%.0f', now + lease)
bad = corrupt(whereabouts, 'zset') or (mayCome and brokenJournal())
if bad then return bad end

-- Whether the user is in the room now. One that is gone, or whose keys are broken, is passed over.
local function renew(room, roomKey, presence, here)
  if redis.call('EXISTS', roomKey) == 0 then return false end
  local known, broken = read('HGET', here, 'hash', user)
  if broken then return false end
  if not known and not mayCome then
    comings[#comings + 1] = room
    return false
  end
  if corrupt(presence, 'zset') then return false end
  redis.call('ZADD', presence, 'GT', till, user)
  if known ~= json then redis.call('HSET', here, user, json) end
  keepFor(presence, keep)
  keepFor(here, keep)
  redis.call('ZADD', whereabouts, 'GT', till, room)
  local count = redis.call('HLEN', here)
  if count == 1 then redis.call('ZADD', due, till, room) else redis.call('ZADD', due, 'LT', till, room) end
  if count > listed then crowded[#crowded + 1] = room end
  if not known and count <= listed + 1 then tell(room, json, true) end
  return true
end

local isAnywhere = false
for i = 9, #ARGV do
  local at = 5 + (i - 9) * 3
  if renew(ARGV[i], KEYS[at], KEYS[at + 1], KEYS[at + 2]) then isAnywhere = true end
end
if isAnywhere then
  redis.call('ZREMRANGEBYSCORE', whereabouts, '-inf', string.format('%.0f', now))
  keepFor(whereabouts, keep)
  -- No room is forgotten while its people are remembered.
  keepFor(due, keep * 1.25)
end
return {'done', table.concat(comings, ' '), table.concat(crowded, ' ')}
`);

/** KEYS: due. ARGV: most rooms to answer. Answers rooms in which a lease has ended. */
export const dueScript = new Script(`
${LUA_IDS}
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', nowMs()), 'LIMIT', 0, ARGV[1])
`);

/** KEYS also: presence and here of a room. ARGV also: the room, most people to remove. Answers how many were. */
export const sweepScript = new Script(`
${LUA_PRESENCE}
local presence, here, room = KEYS[4], KEYS[5], ARGV[4]
bad = brokenJournal()
if bad then return bad end
if not isSound(presence, here) then
  redis.call('ZREM', due, room)
  return {'done', '0'}
end
local gone = redis.call('ZRANGEBYSCORE', presence, '-inf', string.format('%.0f', now), 'LIMIT', 0, ARGV[5])
for _, user in ipairs(gone) do remove(room, presence, here, user) end
settle(room, presence)
return {'done', tostring(#gone)}
`);

/** KEYS also: the user's whereabouts; for each room: presence, here. ARGV also: user, the rooms. */
export const dropScript = new Script(`
${LUA_PRESENCE}
local whereabouts, user = KEYS[4], ARGV[4]
bad = brokenJournal()
if bad then return bad end
for i = 5, #ARGV do
  local room, at = ARGV[i], 5 + (i - 5) * 2
  local presence, here = KEYS[at], KEYS[at + 1]
  if isSound(presence, here) then
    remove(room, presence, here, user)
    settle(room, presence)
  end
  if not corrupt(whereabouts, 'zset') then redis.call('ZREM', whereabouts, room) end
end
return {'done'}
`);

/**
 * KEYS: journal, epoch, presence, here. ARGV: new epoch, most people to answer. Answers epoch, the journal's end, how
 * many are here, and the JSON of those whose leases are the latest.
 */
export const listScript = new Script(`
${LUA_IDS}
redis.call('SET', KEYS[2], ARGV[1], 'NX')
local answer = {redis.call('GET', KEYS[2]), lastId(KEYS[1]), tostring(redis.call('HLEN', KEYS[4]))}
local users = redis.call('ZREVRANGE', KEYS[3], 0, tonumber(ARGV[2]) - 1)
if #users > 0 then
  for _, json in ipairs(redis.call('HMGET', KEYS[4], unpack(users))) do
    if json then answer[#answer + 1] = json end
  end
end
return answer
`);
