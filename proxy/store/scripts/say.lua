-- Remember by which id of the app's own a message can be read or recalled. Returns 1 where it was recalled before.
-- KEYS  1 said
-- ARGV  1 digests of msgId and writer, which alone are the member of a recall that came first   2 the message's member
--       3 when it was accepted, ms   4 at most so many messages   5 TTL, ms
if redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 1 end
if redis.call('ZADD', KEYS[1], 'NX', ARGV[3], ARGV[2]) == 1 then
  redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -tonumber(ARGV[4]) - 1)
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
end
return 0
