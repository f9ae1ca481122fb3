-- Say how a call ended. An answer counts however late it comes; what is not there any more does not come back.
-- Returns 1 done, 0 it is another's, was answered, or is gone.
-- KEYS  1 the call
-- ARGV  1 owner   2 "answered", "cut off": nobody knows whether it was carried out, or "abandoned": it never left
--       3 status   4 headers   5 body, none: it is not kept; of an answer
local owner, status = unpack(redis.call('HMGET', KEYS[1], 'owner', 'status'))
if owner ~= ARGV[1] or status then return 0 end
if ARGV[2] == 'abandoned' then
  redis.call('DEL', KEYS[1])
elseif ARGV[2] == 'cut off' then
  redis.call('HSET', KEYS[1], 'until', 0)
else
  redis.call('HSET', KEYS[1], 'status', ARGV[3], 'headers', ARGV[4])
  if ARGV[5] then redis.call('HSET', KEYS[1], 'body', ARGV[5]) end
end
return 1
