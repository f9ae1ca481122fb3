-- Pause a lane: no worker reads it, and no probe goes out before the given time is over.
-- An open breaker heeds the one probe alone, and waits twice as long after each that failed.
-- Returns 1 where this is news: the lane was open until now, or paused for another kind of reason.
-- KEYS  1 pause   2 probe
-- ARGV  1 kind   2 reason   3 now, ms   4 time to the first probe, ms   5 longest time between a breaker's probes, ms
--       6 TTL of the pause, s   7 instance
local is_paused = redis.call('EXISTS', KEYS[1]) == 1
local former = redis.call('HMGET', KEYS[1], 'kind', 'wait_ms')
local probed = redis.call('GET', KEYS[2]) == ARGV[7]
local wait = tonumber(ARGV[4])
if is_paused and ARGV[1] == 'breaker' then
  if not probed then return 0 end
  if former[1] == 'breaker' then wait = math.min(2 * tonumber(former[2]), tonumber(ARGV[5])) end
end
redis.call('HSETNX', KEYS[1], 'since', ARGV[3])
redis.call('HSET', KEYS[1], 'kind', ARGV[1], 'reason', ARGV[2], 'wait_ms', wait)
redis.call('EXPIRE', KEYS[1], ARGV[6])
if probed or redis.call('PTTL', KEYS[2]) < wait then redis.call('SET', KEYS[2], '1', 'PX', wait) end
if is_paused and (former[1] or 'fault') == ARGV[1] then return 0 end
return 1
