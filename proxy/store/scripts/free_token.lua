-- End the ownership of a push token, if it still is this device's by this very registration.
-- Returns the keys of its fallbacks' owners, a line each; false where nothing was done.
-- KEYS  1 push token's owner   2 how many have one
-- ARGV  1 digest of the account   2 device id   3 registered at, ms, "": whenever   4 "", or when the registration was
--       made that keeps the push token, ms: this one was undone
local owner = redis.call('HMGET', KEYS[1], 'account', 'device', 'at', 'others')
if owner[1] ~= ARGV[1] or owner[2] ~= ARGV[2] then return false end
if ARGV[3] ~= '' and owner[3] ~= ARGV[3] then return false end
if ARGV[4] ~= '' then
  redis.call('HSET', KEYS[1], 'at', ARGV[4])
  return false
end
redis.call('DEL', KEYS[1])
if redis.call('DECR', KEYS[2]) <= 0 then redis.call('DEL', KEYS[2]) end -- below: others do not count
return owner[4] or ''
