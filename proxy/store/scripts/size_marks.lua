-- Write down how marks are kept, unless another has meanwhile. Returns 1 where it was written.
-- KEYS  1 generation
-- ARGV  1 marks as they were known   2 marks from now on
if redis.call('HGET', KEYS[1], 'marks') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'marks', ARGV[2])
return 1
