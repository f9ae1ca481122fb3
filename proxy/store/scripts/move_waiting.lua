-- Put messages that waited for full lanes back among the callbacks. Returns how many, and when the earliest of those
-- left is due ('' if none). An earlier program reads the record alone, and plans the message for all lanes again.
-- KEYS  1 waiting   2 callbacks
-- ARGV  1 now, ms   2 at most so many
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
for _, message in ipairs(due) do
  local tries, lanes, record = string.match(message, '^(%d+) ([^\n]*)\n(.*)$')
  redis.call('XADD', KEYS[2], '*', 'r', record, 'lanes', lanes, 'tries', tries)
  redis.call('ZREM', KEYS[1], message)
end
return {#due, redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2] or ''}
