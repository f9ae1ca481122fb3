-- Remove a registration if it still is this account's device and was made before a moment.
-- Returns 1 removed, 0 kept because it was made later, 2 nothing to remove: it has another owner or is gone.
-- KEYS  1 account's registrations   2 push token's owner
-- ARGV  1 digest of the account   2 device id   3 the moment, ms; '' for whenever it was made
local owner = redis.call('HMGET', KEYS[2], 'account', 'device', 'at')
if owner[1] ~= ARGV[1] or owner[2] ~= ARGV[2] then return 2 end
if ARGV[3] ~= '' and tonumber(owner[3]) >= tonumber(ARGV[3]) then return 0 end
redis.call('DEL', KEYS[2])
local registration = redis.call('HGET', KEYS[1], ARGV[2])
if registration and string.match(registration, '^[^\n]*') == KEYS[2] then redis.call('HDEL', KEYS[1], ARGV[2]) end
return 1
