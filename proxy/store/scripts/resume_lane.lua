-- Let a lane go on, which all workers know for a while. Returns 1, or 0 where it did not stand.
-- KEYS  1 pause   2 probe   3 resumed
-- ARGV  1 how long they know, s
local stood = redis.call('DEL', KEYS[1])
redis.call('DEL', KEYS[2])
if stood == 1 then redis.call('SET', KEYS[3], '1', 'EX', ARGV[1]) end
return stood
