-- Stores one batch of one shard: checks everything, then writes everything.
--
-- KEYS  fence, bases, lists appended to, lists deleted from, sets of ids
-- ARGV  the token before, the token after, how many appends, deletions, new ids; then
--       for each append    the number that the stream must end with, how many events, the events
--       for each deletion  the last number to go, the record that is kept
--       for each new id    which of the sets, the id
--
-- 1 written; 2 written before; {0, token} fenced; {-1, append, last} a stream ends elsewhere.
-- A wrong type is an error of the check, so nothing is written. Whatever the answer is, something is
-- written back: WAIT counts only what its own connection has propagated.
local fence = KEYS[1]
local held = redis.call('GET', fence)
if held ~= ARGV[1] then
  redis.call('SET', fence, held or '')
  if held == ARGV[2] then return 2 end
  if not held then redis.call('DEL', fence) end
  return {0, held}
end

local appends, deletions, births = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local bases = KEYS[2]
local based = redis.call('HLEN', bases) > 0
local cut = #fence + 2

local function base_of(key)
  local kept = based and redis.call('HGET', bases, string.sub(key, cut))
  return kept and tonumber(string.match(kept, '^%d+')) or 0
end

local at = 6
for i = 1, appends do
  local key = KEYS[2 + i]
  local last = redis.call('LLEN', key)
  if based then last = last + base_of(key) end
  if last ~= tonumber(ARGV[at]) then
    redis.call('SET', fence, held)
    return {-1, i, string.format('%.0f', last)}
  end
  at = at + 2 + ARGV[at + 1]
end
-- A server checks rights command by command, and takes nothing back: what comes after the first write is
-- asked for before it.
local may = redis.acl_check_cmd
if may and (births > 0 and not may('ZADD', KEYS[#KEYS], '0', '-')
    or deletions > 0 and not (may('LTRIM', bases, '0', '-1') and may('HSET', bases, '-', '-'))) then
  return redis.error_reply('NOPERM this user may not run all of ZADD, LTRIM and HSET')
end
for i = 1, deletions do redis.call('LLEN', KEYS[2 + appends + i]) end
for i = 3 + appends + deletions, #KEYS do redis.call('ZCARD', KEYS[i]) end

at = 6
for i = 1, appends do
  local count = tonumber(ARGV[at + 1])
  local first = at + 2
  at = first + count
  if count == 1 then
    redis.call('RPUSH', KEYS[2 + i], ARGV[first])
  else
    for from = first, at - 1, 1000 do
      redis.call('RPUSH', KEYS[2 + i], unpack(ARGV, from, math.min(from + 999, at - 1)))
    end
  end
end
for i = 1, deletions do
  local key = KEYS[2 + appends + i]
  local base = base_of(key)
  local to = math.min(tonumber(ARGV[at]), base + redis.call('LLEN', key))
  if to > base then
    redis.call('LTRIM', key, to - base, -1)
    redis.call('HSET', bases, string.sub(key, cut), string.format('%.0f', to) .. ':' .. ARGV[at + 1])
  end
  at = at + 2
end
for _ = 1, births do
  redis.call('ZADD', KEYS[2 + appends + deletions + ARGV[at]], 0, ARGV[at + 1])
  at = at + 2
end
redis.call('SET', fence, ARGV[2])
return 1
