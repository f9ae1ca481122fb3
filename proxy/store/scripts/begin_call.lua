-- Mark a call before it leaves, unless it was marked before: then say how that one went.
-- Returns {"begun"}, {"answered", status, headers, body; false: not kept}, {"running", for at most so many ms},
-- {"different"} content, or {"cut off"}.
-- KEYS  1 the call
-- ARGV  1 mark of its content   2 owner   3 now, ms   4 until when it may be under way, ms   5 TTL, ms
local content, owner, ends, status, headers, body =
  unpack(redis.call('HMGET', KEYS[1], 'content', 'owner', 'until', 'status', 'headers', 'body'))
if not content then
  redis.call('HSET', KEYS[1], 'content', ARGV[1], 'owner', ARGV[2], 'until', ARGV[4])
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
  return {'begun'}
end
if content ~= ARGV[1] then return {'different'} end
if status then return {'answered', status, headers, body} end
if owner == ARGV[2] then return {'begun'} end
local left = tonumber(ends) - tonumber(ARGV[3])
if left > 0 then return {'running', string.format('%.0f', left)} end
return {'cut off'}
