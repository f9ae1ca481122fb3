-- Trim a part of the history. Returns {bytes that are left, when its oldest note was written (ms, '' where none is)}.
-- KEYS  1 a stream of the history
-- ARGV  1 notes older than this go, ms   2 TTL of the rest, s
redis.call('XTRIM', KEYS[1], 'MINID', ARGV[1])
local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
if not oldest then
  redis.call('DEL', KEYS[1])
  return {0, ''}
end
redis.call('EXPIRE', KEYS[1], ARGV[2])
local size = redis.pcall('MEMORY', 'USAGE', KEYS[1])
if type(size) ~= 'number' then size = 100 * redis.call('XLEN', KEYS[1]) end -- a managed store may forbid it
return {size, string.match(oldest[1], '^%d+')}
