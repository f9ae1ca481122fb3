-- Store a callback once. Returns {1 stored, 0 seen before or -1 no room; writes counted so far where it was stored}.
-- What waits for full lanes counts towards the cap.
-- KEYS  1 callbacks   2 waiting   3 writes   4.. where its mark may lie: the first is where it is written
-- ARGV  1 how long the mark is kept at least, ms   2 cap   3 record   4 what the mark is called in a bucket
-- with marks.lua
for k = 4, #KEYS do
  if is_bucket(KEYS[k]) then
    if redis.call('HEXISTS', KEYS[k], ARGV[4]) == 1 then return {0} end
  elseif redis.call('EXISTS', KEYS[k]) == 1 then
    return {0}
  end
end
if redis.call('XLEN', KEYS[1]) + redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[2]) then return {-1} end
redis.call('XADD', KEYS[1], '*', 'r', ARGV[3])
if is_bucket(KEYS[4]) then
  redis.call('HSET', KEYS[4], ARGV[4], '1')
  keep(KEYS[4], ARGV[1])
else
  redis.call('SET', KEYS[4], '1', 'PX', ARGV[1])
end
return {1, redis.call('INCR', KEYS[3])}
