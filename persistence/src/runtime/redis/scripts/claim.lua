-- Replaces the fence token, if it is what the claimer has judged.
--
-- KEYS  fence
-- ARGV  the token that was judged, empty for none; the token of the claim
--
-- 1 taken; 2 taken before; {0, token} the key holds something else, to be judged anew. Whatever the answer
-- is, something is written back: WAIT counts only what its own connection has propagated.
local held = redis.call('GET', KEYS[1])
if held ~= '' and (held or '') == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[2])
  return 1
end
redis.call('SET', KEYS[1], held or '')
if not held then redis.call('DEL', KEYS[1]) end
if held == ARGV[2] then return 2 end
return {0, held}
