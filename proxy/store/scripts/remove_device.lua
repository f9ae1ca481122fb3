-- Remove a registration because its user says so: then it cannot come back either.
-- Returns 1 removed, 0 there was none, or its push token has another owner.
-- KEYS  1 account's registrations   2 the account's removed records
-- ARGV  1 digest of the account   2 device id
local kept = redis.call('HGET', KEYS[2], ARGV[2])
if kept then
  redis.call('DEL', kept)
  redis.call('HDEL', KEYS[2], ARGV[2])
end
local registration = redis.call('HGET', KEYS[1], ARGV[2])
if not registration then return 0 end
redis.call('HDEL', KEYS[1], ARGV[2])
local token_key = string.match(registration, '^[^\n]*')
local owner = redis.call('HMGET', token_key, 'account', 'device', 'others')
if owner[1] ~= ARGV[1] or owner[2] ~= ARGV[2] then return 0 end
redis.call('DEL', token_key)
for other in string.gmatch(owner[3] or '', '[^\n]+') do
  local of = redis.call('HMGET', other, 'account', 'device')
  if of[1] == ARGV[1] and of[2] == ARGV[2] then redis.call('DEL', other) end
end
return 1
