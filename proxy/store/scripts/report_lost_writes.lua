-- The store was found to have lost writes. Returns 1 for the process that is to report it: the first within a minute.
-- KEYS  1 generation
-- ARGV  1 now, ms   2 how many writes
local at, count = unpack(redis.call('HMGET', KEYS[1], 'behind_at', 'behind_by'))
if at and tonumber(ARGV[1]) - tonumber(at) < 60000 then
  redis.call('HSET', KEYS[1], 'behind_by', math.max(tonumber(count), tonumber(ARGV[2])))
  return 0
end
redis.call('HSET', KEYS[1], 'behind_at', ARGV[1], 'behind_by', ARGV[2])
return 1
