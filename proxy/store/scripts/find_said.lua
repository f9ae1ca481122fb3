-- The message that is read or recalled, and messages of its conversation before it, the latest first:
-- {member, when it was accepted in ms, ...}. Where a recall finds none, its message is recalled once it comes.
-- KEYS  1 said
-- ARGV  1 digests of msgId and writer; of msgId alone where anybody may have written it   2 so many messages before it
--       3 when the recall was accepted, ms ('': it is none)   4 at most so many messages   5 TTL, ms
local RECALLED_FIRST = 10 -- bytes: the digests alone
local all, found = redis.call('ZREVRANGE', KEYS[1], 0, -1, 'WITHSCORES'), {}
for i = 1, #all, 2 do
  local member = all[i]
  local is_named = string.sub(member, 1, #ARGV[1]) == ARGV[1]
  if #member > RECALLED_FIRST and (#found > 0 or is_named) then
    found[#found + 1] = member
    found[#found + 1] = all[i + 1]
    if #found > 2 * tonumber(ARGV[2]) then return found end
  end
end
if #found == 0 and ARGV[3] ~= '' then
  redis.call('ZADD', KEYS[1], 'NX', ARGV[3], ARGV[1])
  redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -tonumber(ARGV[4]) - 1)
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
end
return found
