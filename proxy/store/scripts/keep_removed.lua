-- Keep a record of a registration that is about to be removed, for a week. It counts once the account names it.
-- Returns 1 done, 0 the push token is another device's or was registered later.
-- KEYS  1 push token's owner   2 the removed record
-- ARGV  1 digest of the account   2 device id   3 registered at or before, ms   4 now, ms   5 registration   6 life, ms
local owner = redis.call('HMGET', KEYS[1], 'account', 'device', 'at', 'trouble', 'others')
if owner[1] ~= ARGV[1] or owner[2] ~= ARGV[2] or tonumber(owner[3] or 0) > tonumber(ARGV[3]) then return 0 end
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[2], 'account', ARGV[1], 'device', ARGV[2], 'at', owner[3], 'trouble', owner[4] or '',
  'forgotten', ARGV[4], 'registration', ARGV[5])
if owner[5] then redis.call('HSET', KEYS[2], 'others', owner[5]) end
redis.call('PEXPIRE', KEYS[2], ARGV[6])
return 1
