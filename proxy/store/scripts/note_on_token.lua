-- Write something on a push token's owner, if it still is this account's device.
-- KEYS  1 push token's owner
-- ARGV  1 digest of the account   2 device id   3 field: "trouble", why it does not work, or "others"   4 value
local owner = redis.call('HMGET', KEYS[1], 'account', 'device')
if owner[1] == ARGV[1] and owner[2] == ARGV[2] then redis.call('HSET', KEYS[1], ARGV[3], ARGV[4]) end
return 1
