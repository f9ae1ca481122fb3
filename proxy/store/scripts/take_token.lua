-- Make a push token this device's. Returns the account and device whose it was.
-- KEYS  1 push token's owner   2 how many have one
-- ARGV  1 digest of the account   2 device id   3 registered at, ms   4 TTL, s   5 keys of the fallbacks' owners, a line
--       each   6 why it does not work   7 only where nobody else has it (0/1)
local before = redis.call('HMGET', KEYS[1], 'account', 'device')
if ARGV[7] == '1' and before[1] and not (before[1] == ARGV[1] and before[2] == ARGV[2]) then return before end
if redis.call('DEL', KEYS[1]) == 0 then redis.call('INCR', KEYS[2]) end
redis.call('HSET', KEYS[1], 'account', ARGV[1], 'device', ARGV[2], 'at', ARGV[3])
if ARGV[5] ~= '' then redis.call('HSET', KEYS[1], 'others', ARGV[5]) end
if ARGV[6] ~= '' then redis.call('HSET', KEYS[1], 'trouble', ARGV[6]) end
redis.call('EXPIRE', KEYS[1], ARGV[4])
redis.call('EXPIRE', KEYS[2], ARGV[4])
return before
