-- Remove a registration that a provider calls dead, if it still is this account's device and was made before a moment,
-- and keep its record for a week; but when too many of the app's devices would go within an hour, keep it.
-- Of a registration with several addresses one goes, and where it was the first, the next one takes its place.
-- Returns {what, devices of the last hour, devices in all}: what is
--   1 removed   0 kept because it was made later   2 nothing to remove: it has another owner or is gone
--   3 kept by the guard   4 kept, and the guard has just begun   5 nothing done: count the app's devices first
--   6 nothing done: the registration has changed since it was read
-- KEYS  1 account's registrations   2 push token's owner   3 its removed record   4 the account's removed records
--       5 removed devices   6 devices kept by the guard   7 the guard
-- ARGV  1 digest of the account   2 device id   3 the moment, ms   4 now, ms   5 share   6 at least so many devices
--       then, where others are left: 7 the registration as it was read   8 the same without this address
--       9 keys of the owners of its push tokens but the first, a line each
local HOUR, WEEK, DAY_S = 3600000, 604800000, 86400
local owner = redis.call('HMGET', KEYS[2], 'account', 'device', 'at', 'trouble', 'others')
if owner[1] ~= ARGV[1] or owner[2] ~= ARGV[2] then return {2, 0, 0} end
if tonumber(owner[3]) >= tonumber(ARGV[3]) then return {0, 0, 0} end
if ARGV[7] and redis.call('HGET', KEYS[1], ARGV[2]) ~= ARGV[7] then return {6, 0, 0} end

local now = tonumber(ARGV[4])
local recently = '(' .. (now - HOUR)
redis.call('ZREMRANGEBYSCORE', KEYS[6], '-inf', now - HOUR)
local function counted_already()
  if redis.call('ZSCORE', KEYS[6], KEYS[3]) then return true end
  local before = redis.call('ZSCORE', KEYS[5], KEYS[3])
  return before and tonumber(before) > now - HOUR
end
local count = redis.call('ZCOUNT', KEYS[5], recently, '+inf') + redis.call('ZCARD', KEYS[6])
if not counted_already() then count = count + 1 end

if tonumber(ARGV[5]) < 1 and count >= tonumber(ARGV[6]) then
  local guard = redis.call('HMGET', KEYS[7], 'devices', 'counted', 'released', 'last')
  if tonumber(guard[3] or 0) <= now then
    if tonumber(guard[2] or 0) <= now - HOUR then return {5, count, 0} end
    local all = tonumber(guard[1])
    if count > tonumber(ARGV[5]) * all then
      redis.call('ZREM', KEYS[5], KEYS[3])
      redis.call('ZADD', KEYS[6], now, KEYS[3])
      redis.call('PEXPIRE', KEYS[6], HOUR)
      local begins = tonumber(guard[4] or 0) <= now - HOUR
      if begins then redis.call('HSET', KEYS[7], 'since', now) end
      redis.call('HSET', KEYS[7], 'last', now, 'count', count, 'all', all)
      redis.call('EXPIRE', KEYS[7], DAY_S)
      return {begins and 4 or 3, count, all}
    end
  end
end

redis.call('DEL', KEYS[2])
local registration = redis.call('HGET', KEYS[1], ARGV[2])
local is_first = registration and string.match(registration, '^[^\n]*') == KEYS[2]
if ARGV[8] then
  local first = string.match(ARGV[8], '^[^\n]*')
  local of = redis.call('HMGET', first, 'account', 'device')
  if of[1] == ARGV[1] and of[2] == ARGV[2] then redis.call('HSET', first, 'others', ARGV[9]) end
  redis.call('HSET', KEYS[1], ARGV[2], ARGV[8])
elseif is_first then
  redis.call('HDEL', KEYS[1], ARGV[2])
end
local former = redis.call('HGET', KEYS[4], ARGV[2])
local is_kept = former and redis.call('HGET', former, 'at') == owner[3] -- an address of it went before: it has them all
if is_first and not is_kept then
  if former then redis.call('DEL', former) end
  redis.call('DEL', KEYS[3])
  redis.call('HSET', KEYS[3], 'account', ARGV[1], 'device', ARGV[2], 'at', owner[3], 'trouble', owner[4] or '',
    'forgotten', now, 'registration', registration)
  if owner[5] then redis.call('HSET', KEYS[3], 'others', owner[5]) end
  redis.call('PEXPIRE', KEYS[3], WEEK)
  redis.call('HSET', KEYS[4], ARGV[2], KEYS[3])
  redis.call('PEXPIRE', KEYS[4], WEEK)
end
redis.call('ZREM', KEYS[6], KEYS[3])
redis.call('ZREMRANGEBYSCORE', KEYS[5], '-inf', now - WEEK)
redis.call('ZADD', KEYS[5], now, KEYS[3])
redis.call('PEXPIRE', KEYS[5], WEEK)
return {1, count, 0}
