-- Stop a lane: nobody reads it, and no probe goes out before the given time is over.
-- KEYS  1 pause   2 probe
-- ARGV  1 reason   2 now, ms   3 time to the first probe, ms   4 life of the pause, s
redis.call('HSETNX', KEYS[1], 'since', ARGV[2])
redis.call('HSET', KEYS[1], 'reason', ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[4])
redis.call('SET', KEYS[2], '1', 'PX', ARGV[3])
return 1
