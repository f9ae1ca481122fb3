-- Messages of an account are read, or recalled: they are unread no longer. Where that changes the number on its phones
-- they are told, by one job each when the window ends, in which no other is made: the number is read when it is pushed.
-- Returns how many of them were unread, and how many messages still are.
-- KEYS  1 badge   2 badge-due   3 unread of the conversation (of all: badge)   then per job: retries of its lane
-- ARGV  1 conversation, '' for all   2 message, '' for those up to   3 when they were accepted, ms
--       4 window, ms   5 when it ends, ms   6 TTL, ms   then per job: record
local function total() return tonumber(redis.call('HGET', KEYS[1], 'total') or 0) end
local before = total()
if ARGV[1] == '' then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'floor', ARGV[3])
  redis.call('PEXPIRE', KEYS[1], ARGV[6])
else
  local known = redis.call('HGET', KEYS[1], ARGV[1])
  if not known then return {0, before} end
  if ARGV[2] == '' then
    redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', ARGV[3])
  else
    redis.call('ZREM', KEYS[3], ARGV[2])
  end
  local left, counted, newest = redis.call('ZCARD', KEYS[3]), string.match(known, '^(%d+) (%d+)$')
  redis.call('HINCRBY', KEYS[1], 'total', left - counted)
  if left == 0 then
    redis.call('HDEL', KEYS[1], ARGV[1])
  else
    redis.call('HSET', KEYS[1], ARGV[1], left .. ' ' .. newest)
  end
end
local gone = before - total()
if gone > 0 and #ARGV > 6 and redis.call('SET', KEYS[2], '1', 'NX', 'PX', ARGV[4]) then
  for i = 7, #ARGV do redis.call('ZADD', KEYS[i - 3], ARGV[5], ARGV[i]) end
end
return {gone, total()}
