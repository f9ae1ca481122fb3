-- A removal that was reserved has been done.
-- KEYS  1 removed devices   2 devices kept by the guard   3 removals under way
-- ARGV  1 the device, by the key of its removed record   2 now, ms
local WEEK = 604800000
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', tonumber(ARGV[2]) - WEEK)
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[1], WEEK)
return 1
