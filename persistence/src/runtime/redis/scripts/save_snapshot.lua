-- Saves a snapshot; one that ends with the same event is replaced.
--
-- KEYS  snapshots
-- ARGV  number and time as 20 digits each, the snapshot
local key, number = KEYS[1], ARGV[1]
local field = number .. '.' .. ARGV[2]
for _, other in ipairs(redis.call('HKEYS', key)) do
  if other ~= field and string.sub(other, 1, 20) == number then redis.call('HDEL', key, other) end
end
redis.call('HSET', key, field, ARGV[3])
return 1
