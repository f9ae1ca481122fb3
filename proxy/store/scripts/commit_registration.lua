-- Write a registration whose push tokens are taken. The one before is left over, where it has others to be freed.
-- Returns {what}, and if it is done the one before or false, the key of the device's removed record or false, and each
-- device and registration of the account if it has too many. What is
--   1 done   0 this change took too long, and another has undone it; of a restore: 2 another came first   3 no room;
--   of an import: 2
-- KEYS  1 account's registrations   2 its leftovers   3 its removed records   4 its preferences, which live as long
-- ARGV  1 field among the leftovers   2 device id   3 registration   4 TTL, s   5 one that needs nothing freed
--       6 devices of an account at most   7 of a restore: key of the removed record   8 the registration before
--       9 of an import: only where 8 is still so (0/1)
-- 7 and 8 are "" for a new registration, and 9 is 0.
local former = redis.call('HGET', KEYS[1], ARGV[2])
local mine = redis.call('HGET', KEYS[2], ARGV[1])
if former == ARGV[3] then -- this was done already, and asked again as the answer was lost
  former = mine ~= ARGV[3] and mine
elseif not mine then
  redis.call('HSET', KEYS[2], ARGV[1], ARGV[3]) -- it may have taken push tokens after that
  redis.call('EXPIRE', KEYS[2], ARGV[4])
  return {0}
elseif ARGV[9] == '1' and (former or '') ~= ARGV[8] then
  return {2}
elseif ARGV[7] ~= '' then
  if (former or '') ~= ARGV[8] or redis.call('HGET', KEYS[3], ARGV[2]) ~= ARGV[7] then return {2} end
  if redis.call('HLEN', KEYS[1]) - (former and 1 or 0) >= tonumber(ARGV[6]) then return {3} end
end
if former == ARGV[5] then former = false end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[4])
redis.call('EXPIRE', KEYS[4], ARGV[4])
if former then redis.call('HSET', KEYS[2], ARGV[1], former) else redis.call('HDEL', KEYS[2], ARGV[1]) end
local answer = {1, former, redis.call('HGET', KEYS[3], ARGV[2])}
redis.call('HDEL', KEYS[3], ARGV[2])
if redis.call('HLEN', KEYS[1]) > tonumber(ARGV[6]) then
  for _, one in ipairs(redis.call('HGETALL', KEYS[1])) do answer[#answer + 1] = one end
end
return answer
