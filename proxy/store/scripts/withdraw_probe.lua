-- A probe that this worker was to send has not left: another may, at once.
-- KEYS  1 probe
-- ARGV  1 instance
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
