-- Nothing goes to a device for a while; a longer rest stays.
-- KEYS  1 rest
-- ARGV  1 how long, ms
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], '1', 'PX', ARGV[1]) end
return 1
