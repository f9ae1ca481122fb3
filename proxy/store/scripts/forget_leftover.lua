-- Forget a leftover, as its push tokens are free but for those that the list names. If the list has changed since, those
-- may be nobody's now: what it had is left over instead, for the next change.
-- Returns 1 forgotten, 0 not.
-- KEYS  1 account's registrations   2 its leftovers
-- ARGV  1 device id   2 registration that the list had   3 field   4 TTL, s
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then
  redis.call('HSET', KEYS[2], ARGV[3], ARGV[2])
  redis.call('EXPIRE', KEYS[2], ARGV[4])
  return 0
end
redis.call('HDEL', KEYS[2], ARGV[3])
return 1
