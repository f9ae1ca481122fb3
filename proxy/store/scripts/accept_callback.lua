-- Store a callback once. Returns 1 stored, 0 seen before, -1 the stream is full.
-- KEYS  1 seen:<callback id>   2 callbacks
-- ARGV  1 life of the mark, ms   2 cap of the stream   3 record
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
if redis.call('XLEN', KEYS[2]) >= tonumber(ARGV[2]) then return -1 end
redis.call('XADD', KEYS[2], '*', 'r', ARGV[3])
redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])
return 1
