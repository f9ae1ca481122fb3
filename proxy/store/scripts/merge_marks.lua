-- Put marks into a bucket, or what lies beside it, that may have some of them already: as copies, of which one alone was
-- looked at since. That one says more than "1".
-- KEYS  1 bucket
-- ARGV  1 TTL at least, ms   then fields and values
for i = 2, #ARGV, 2 do
  local known = redis.call('HGET', KEYS[1], ARGV[i])
  if not known or known == '1' then redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
end
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return 1
