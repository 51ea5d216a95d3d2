-- Replaces the meta record, if it is what was expected.
--
-- KEYS  meta
-- ARGV  a word of this call's own, by which its repeat is known; how many words describe the expected record
--       (0: there is none); those words; those of the new one. Words are field, value, field, value.
--
-- 1 replaced, now or before; 0 it is something else.
local key, expected = KEYS[1], tonumber(ARGV[2])
if redis.call('HGET', key, 'by') ~= ARGV[1] then
  if expected == 0 and redis.call('HLEN', key) > 0 then return 0 end
  for i = 3, expected + 2, 2 do
    if redis.call('HGET', key, ARGV[i]) ~= ARGV[i + 1] then return 0 end
  end
end
for i = expected + 3, #ARGV, 2 do redis.call('HSET', key, ARGV[i], ARGV[i + 1]) end
redis.call('HSET', key, 'by', ARGV[1])
return 1
