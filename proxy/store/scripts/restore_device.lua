-- Bring back a removed registration, unless its device or its push token was registered since. Where only its first
-- address had gone, and a fallback has taken its place, it is the first again.
-- Returns 1 restored (or, asked only, restorable), 0 it is no longer there, 2 one of its push tokens is registered,
-- 3 the device is, 4 the account has its most devices.
-- KEYS  1 removed record   2 account's registrations   3 push token's owner   4 the account's removed records
--       5 removed devices   6 devices kept by the guard
-- ARGV  1 digest of the account   2 device id   3 TTL, s   4 devices of an account at most   5 only ask (0/1)
local function owner(key) return redis.call('HMGET', key, 'account', 'device', 'at') end
local function is_mine(of) return of[1] == ARGV[1] and of[2] == ARGV[2] end

local removed = redis.call('HMGET', KEYS[1], 'account', 'device', 'at', 'trouble', 'registration', 'others')
if not (removed[5] and is_mine(removed)) then return 0 end
if redis.call('EXISTS', KEYS[3]) == 1 then return 2 end
for other in string.gmatch(removed[6] or '', '[^\n]+') do
  if redis.call('EXISTS', other) == 1 and not is_mine(owner(other)) then return 2 end
end
local present = redis.call('HGET', KEYS[2], ARGV[2])
local of = present and owner(string.match(present, '^[^\n]*'))
if of and is_mine(of) and not (removed[6] and of[3] == removed[3]) then return 3 end
if redis.call('HLEN', KEYS[2]) - (present and 1 or 0) >= tonumber(ARGV[4]) then return 4 end
if ARGV[5] == '1' then return 1 end

redis.call('HSET', KEYS[3], 'account', removed[1], 'device', removed[2], 'at', removed[3])
if removed[4] ~= '' then redis.call('HSET', KEYS[3], 'trouble', removed[4]) end
if removed[6] then redis.call('HSET', KEYS[3], 'others', removed[6]) end
redis.call('EXPIRE', KEYS[3], ARGV[3])
for other in string.gmatch(removed[6] or '', '[^\n]+') do
  if redis.call('EXISTS', other) == 0 then
    redis.call('HSET', other, 'account', removed[1], 'device', removed[2], 'at', removed[3])
  end
  redis.call('EXPIRE', other, ARGV[3])
end
redis.call('HSET', KEYS[2], removed[2], removed[5])
redis.call('EXPIRE', KEYS[2], ARGV[3])
redis.call('DEL', KEYS[1])
redis.call('HDEL', KEYS[4], removed[2])
redis.call('ZREM', KEYS[5], KEYS[1])
redis.call('ZREM', KEYS[6], KEYS[1])
return 1
