-- Deletes the snapshots that match.
--
-- KEYS  snapshots
-- ARGV  lowest and highest number, earliest and latest time, as 20 digits each; a word to write
--
-- The word is written and taken back: WAIT counts only what its own connection has propagated.
redis.call('HSET', KEYS[1], ARGV[5], '')
redis.call('HDEL', KEYS[1], ARGV[5])
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  local number, time = string.sub(field, 1, 20), string.sub(field, 22)
  if number >= ARGV[1] and number <= ARGV[2] and time >= ARGV[3] and time <= ARGV[4] then
    redis.call('HDEL', KEYS[1], field)
  end
end
return 1
