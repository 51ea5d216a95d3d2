-- Reads the newest snapshot that matches, and no other.
--
-- KEYS  snapshots
-- ARGV  lowest and highest number, earliest and latest time, as 20 digits each
local best
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  local number, time = string.sub(field, 1, 20), string.sub(field, 22)
  if number >= ARGV[1] and number <= ARGV[2] and time >= ARGV[3] and time <= ARGV[4] and (not best or field > best) then
    best = field
  end
end
return best and {best, redis.call('HGET', KEYS[1], best)}
