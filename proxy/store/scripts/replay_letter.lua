-- A dead letter goes back to work: it leaves, and its record is appended, or nothing is done.
-- Returns 1 done, 0 the letter is gone, -1 the stream is full.
-- KEYS  1 dead letters   2 the letter's words   3 stream   4 what waits beside it and counts towards its cap
-- ARGV  1 letter id   2 cap of the stream   3 record
if not redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1] then return 0 end
if redis.call('XLEN', KEYS[3]) + redis.call('ZCARD', KEYS[4]) >= tonumber(ARGV[2]) then return -1 end
redis.call('XDEL', KEYS[1], ARGV[1])
redis.call('XADD', KEYS[3], '*', 'r', ARGV[3])
redis.call('DEL', KEYS[2])
return 1
