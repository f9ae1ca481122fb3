-- Make a push token the one of this account's device; whoever had it before loses it in the same step.
-- KEYS  1 account's registrations   2 push token's owner
-- ARGV  1 digest of the account   2 device id   3 record   4 registered at, ms   5 life, s   6 prefix of accounts' keys
-- A registration is "<key of its push token's owner>\n<record>".
local function token_key(registration) return string.match(registration, '^[^\n]*') end
local function owner(key) return redis.call('HMGET', key, 'account', 'device') end

local former = redis.call('HGET', KEYS[1], ARGV[2])
if former and token_key(former) ~= KEYS[2] then
  local of = owner(token_key(former))
  if of[1] == ARGV[1] and of[2] == ARGV[2] then redis.call('DEL', token_key(former)) end
end
local before = owner(KEYS[2])
if before[1] and not (before[1] == ARGV[1] and before[2] == ARGV[2]) then
  redis.call('HDEL', ARGV[6] .. before[1], before[2])
end
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[2], 'account', ARGV[1], 'device', ARGV[2], 'at', ARGV[4])
redis.call('EXPIRE', KEYS[2], ARGV[5])
redis.call('HSET', KEYS[1], ARGV[2], KEYS[2] .. '\n' .. ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[5])
return 1
