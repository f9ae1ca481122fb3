-- How many push tokens of a shard have an owner, with those among the named that have none any more.
-- KEYS  1 how many have one   then owners of push tokens
local count = tonumber(redis.call('GET', KEYS[1]) or 0)
for i = 2, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 0 then count = count + 1 end
end
return count
