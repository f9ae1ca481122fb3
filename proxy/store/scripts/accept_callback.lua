-- Store a callback once. Returns {1 stored, 0 seen before or -1 no room; writes counted so far where it was stored}.
-- What waits for full lanes counts towards the cap.
-- KEYS  1 callbacks   2 waiting   3 writes   4.. where its mark may lie: the first is where it is written
-- ARGV  1 how long the mark is kept at least, ms   2 cap   3 record   4 what the mark is called in a bucket; '' where it
--       has a key of its own, as an earlier program has it   5 which of KEYS is such a key all the same, 0 for none
local name, apart = ARGV[4], tonumber(ARGV[5])
for k = 4, #KEYS do
  if name == '' or k == apart then
    if redis.call('EXISTS', KEYS[k]) == 1 then return {0} end
  elseif redis.call('HEXISTS', KEYS[k], name) == 1 then
    return {0}
  end
end
if redis.call('XLEN', KEYS[1]) + redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[2]) then return {-1} end
redis.call('XADD', KEYS[1], '*', 'r', ARGV[3])
if name == '' or apart == 4 then
  redis.call('SET', KEYS[4], '1', 'PX', ARGV[1])
else
  redis.call('HSET', KEYS[4], name, '1')
  if redis.call('PTTL', KEYS[4]) < tonumber(ARGV[1]) then redis.call('PEXPIRE', KEYS[4], 2 * ARGV[1]) end
end
return {1, redis.call('INCR', KEYS[3])}
