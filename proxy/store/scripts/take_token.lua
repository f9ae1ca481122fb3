-- Make a push token this device's. Returns the account and device whose it was, and a third where it stays theirs as it
-- is newer.
-- KEYS  1 push token's owner   2 how many have one
-- ARGV  1 digest of the account   2 device id   3 registered at, ms   4 TTL, s   5 keys of the fallbacks' owners, a line
--       each   6 why it does not work   7 only where: 0 always   1 nobody else has it   2 nobody has it since 3
local before = redis.call('HMGET', KEYS[1], 'account', 'device')
if ARGV[7] == '1' and before[1] and not (before[1] == ARGV[1] and before[2] == ARGV[2]) then return before end
if ARGV[7] == '2' and before[1] then
  local at, is_mine = tonumber(redis.call('HGET', KEYS[1], 'at') or 0), before[1] == ARGV[1] and before[2] == ARGV[2]
  if at > tonumber(ARGV[3]) or (at == tonumber(ARGV[3]) and not is_mine) then return {before[1], before[2], 'newer'} end
end
if redis.call('DEL', KEYS[1]) == 0 then redis.call('INCR', KEYS[2]) end
redis.call('HSET', KEYS[1], 'account', ARGV[1], 'device', ARGV[2], 'at', ARGV[3])
if ARGV[5] ~= '' then redis.call('HSET', KEYS[1], 'others', ARGV[5]) end
if ARGV[6] ~= '' then redis.call('HSET', KEYS[1], 'trouble', ARGV[6]) end
redis.call('EXPIRE', KEYS[1], ARGV[4])
redis.call('EXPIRE', KEYS[2], ARGV[4])
return before
