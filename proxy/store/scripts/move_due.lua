-- Put due retries back into their lane. Returns how many, and when the earliest of those left is due ('' if none).
-- KEYS  1 retries   2 jobs
-- ARGV  1 now, ms   2 at most so many
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
for _, record in ipairs(due) do
  redis.call('XADD', KEYS[2], '*', 'r', record)
  redis.call('ZREM', KEYS[1], record)
end
return {#due, redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2] or ''}
