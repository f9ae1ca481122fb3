-- End the ownership of a push token, if it still is this device's and was not registered later.
-- Returns the keys of its fallbacks' owners, a line each; false where nothing was done.
-- KEYS  1 push token's owner   2 how many have one
-- ARGV  1 digest of the account   2 device id   3 registered at or before, ms   4 "", or when the registration was made
--       that it keeps the push token for, ms: a later one was undone
local owner = redis.call('HMGET', KEYS[1], 'account', 'device', 'at', 'others')
if owner[1] ~= ARGV[1] or owner[2] ~= ARGV[2] then return false end
if tonumber(owner[3] or 0) > tonumber(ARGV[3]) then return false end
if ARGV[4] ~= '' then
  if tonumber(owner[3] or 0) > tonumber(ARGV[4]) then redis.call('HSET', KEYS[1], 'at', ARGV[4]) end
  return false
end
redis.call('DEL', KEYS[1])
if redis.call('DECR', KEYS[2]) <= 0 then redis.call('DEL', KEYS[2]) end -- below: others do not count
return owner[4] or ''
