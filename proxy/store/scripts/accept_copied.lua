-- Store a callback that goes to webhooks once: for the plan, where it has a record for it, and in the lane of each
-- webhook. Returns {1 stored, 0 seen before or -1 no room; writes counted so far where it was stored; which webhooks,
-- by number, had no room}. A full webhook keeps nothing from the plan, nor from the others.
-- Beside accept_callback.lua, so that whoever has no webhook runs not a line more.
-- KEYS  1 callbacks   2 waiting   3 writes   4.. where its mark may lie: the first is where it is written;
--       then for each webhook its stream, and what waits beside it and counts towards its cap
-- ARGV  1 to 5 as there; 3 '': it is for webhooks alone   6 how many keys of marks   then for each webhook cap, record
local name, apart, marks = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
for k = 4, 3 + marks do
  if name == '' or k == apart then
    if redis.call('EXISTS', KEYS[k]) == 1 then return {0} end
  elseif redis.call('HEXISTS', KEYS[k], name) == 1 then
    return {0}
  end
end
if ARGV[3] ~= '' then
  if redis.call('XLEN', KEYS[1]) + redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[2]) then return {-1} end
  redis.call('XADD', KEYS[1], '*', 'r', ARGV[3])
end
local full = {}
for n = 1, (#ARGV - 6) / 2 do
  local stream, waits = KEYS[2 + marks + 2 * n], KEYS[3 + marks + 2 * n]
  if redis.call('XLEN', stream) + redis.call('ZCARD', waits) >= tonumber(ARGV[5 + 2 * n]) then
    full[#full + 1] = n
  else
    redis.call('XADD', stream, '*', 'r', ARGV[6 + 2 * n])
  end
end
if name == '' or apart == 4 then
  redis.call('SET', KEYS[4], '1', 'PX', ARGV[1])
else
  redis.call('HSET', KEYS[4], name, '1')
  if redis.call('PTTL', KEYS[4]) < tonumber(ARGV[1]) then redis.call('PEXPIRE', KEYS[4], 2 * ARGV[1]) end
end
return {1, redis.call('INCR', KEYS[3]), full}
