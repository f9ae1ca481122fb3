-- Resume a lane, which all workers know for a while. Returns 1, or 0 where it was not paused.
-- KEYS  1 pause   2 probe   3 resumed
-- ARGV  1 how long they know, s
local was_paused = redis.call('DEL', KEYS[1])
redis.call('DEL', KEYS[2])
if was_paused == 1 then redis.call('SET', KEYS[3], '1', 'EX', ARGV[1]) end
return was_paused
