-- May a device be removed? A removal is counted from here on: for an hour once it is confirmed, else for a minute.
-- When too many of the app's devices would go within an hour, the guard keeps them.
-- Returns {what, devices of the last hour, devices in all}: what is
--   1 it may   3 kept by the guard   4 kept, and the guard has just begun
--   or {5, devices removed in the last hour, then the removed records of the removals under way}: count the devices first
-- KEYS  1 removed devices   2 devices kept by the guard   3 removals under way   4 the guard
-- ARGV  1 the device, by the key of its removed record   2 now, ms   3 share   4 at least so many devices
local MINUTE, HOUR, WEEK, DAY_S = 60000, 3600000, 604800000, 86400
local now, device = tonumber(ARGV[2]), ARGV[1]
local recently, just_now = '(' .. (now - HOUR), '(' .. (now - MINUTE)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - HOUR)
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now - WEEK)
local function is_since(key, moment)
  local at = redis.call('ZSCORE', key, device)
  return at and tonumber(at) > moment
end
local removed = redis.call('ZCOUNT', KEYS[1], recently, '+inf')
local was_counted = is_since(KEYS[1], now - HOUR) or is_since(KEYS[2], now - HOUR)
local count = removed + redis.call('ZCARD', KEYS[2]) + redis.call('ZCOUNT', KEYS[3], just_now, '+inf')
if not (was_counted or is_since(KEYS[3], now - MINUTE)) then count = count + 1 end

if tonumber(ARGV[3]) < 1 and count >= tonumber(ARGV[4]) then
  local guard = redis.call('HMGET', KEYS[4], 'devices', 'counted', 'released', 'last')
  if tonumber(guard[3] or 0) <= now then
    if tonumber(guard[2] or 0) <= now - HOUR then
      local answer = {5, removed}
      for _, one in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], just_now, '+inf')) do answer[#answer + 1] = one end
      return answer
    end
    local all = tonumber(guard[1])
    if count > tonumber(ARGV[3]) * all then
      redis.call('ZREM', KEYS[1], device)
      redis.call('ZREM', KEYS[3], device)
      redis.call('ZADD', KEYS[2], now, device)
      redis.call('PEXPIRE', KEYS[2], HOUR)
      local begins = tonumber(guard[4] or 0) <= now - HOUR
      if begins then redis.call('HSET', KEYS[4], 'since', now) end
      redis.call('HSET', KEYS[4], 'last', now, 'count', count, 'all', all)
      redis.call('EXPIRE', KEYS[4], DAY_S)
      return {begins and 4 or 3, count, all}
    end
  end
end
-- one that is counted among the removed or the kept is not counted here too
redis.call('ZADD', KEYS[3], was_counted and now - MINUTE or now, device)
redis.call('PEXPIRE', KEYS[3], WEEK)
return {1, count, 0}
