-- Store a callback once. Returns {1 stored, 0 seen before or -1 no room; writes counted so far where it was stored}.
-- What waits for full lanes counts towards the cap.
-- KEYS  1 seen:<callback id>   2 callbacks   3 waiting   4 writes
-- ARGV  1 TTL of the mark, ms   2 cap   3 record
if redis.call('EXISTS', KEYS[1]) == 1 then return {0} end
if redis.call('XLEN', KEYS[2]) + redis.call('ZCARD', KEYS[3]) >= tonumber(ARGV[2]) then return {-1} end
redis.call('XADD', KEYS[2], '*', 'r', ARGV[3])
redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])
return {1, redis.call('INCR', KEYS[4])}
