-- Write on a registration why it does not work, if it still is this account's device.
-- KEYS  1 push token's owner
-- ARGV  1 digest of the account   2 device id   3 reason
local owner = redis.call('HMGET', KEYS[1], 'account', 'device')
if owner[1] == ARGV[1] and owner[2] == ARGV[2] then redis.call('HSET', KEYS[1], 'trouble', ARGV[3]) end
return 1
