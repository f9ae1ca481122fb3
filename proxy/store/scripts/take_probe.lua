-- One worker at a time may probe a lane. A worker that asks again has none under way: its last probe had no result.
-- KEYS  1 probe
-- ARGV  1 instance   2 lease, ms
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
