-- All is where the new shards have it.
-- KEYS  1 generation
-- ARGV  1 what was under way   2 shards   3 marks
if redis.call('HGET', KEYS[1], 'moves') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'shards', ARGV[2], 'marks', ARGV[3])
redis.call('HDEL', KEYS[1], 'moves')
return 1
