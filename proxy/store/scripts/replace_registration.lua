-- Put another registration in the place of one whose push token is dead, or none. The one before is left over.
-- Returns 1 done, 0 the account has another one by now.
-- KEYS  1 account's registrations   2 its leftovers   3 its removed records
-- ARGV  1 field among the leftovers   2 device id   3 registration as it was read   4 the one in its place, "": none
--       5 TTL, s   6 key of the removed record, "": none   7 its life, ms
if redis.call('HGET', KEYS[1], ARGV[2]) ~= ARGV[3] then return 0 end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
redis.call('EXPIRE', KEYS[2], ARGV[5])
if ARGV[4] == '' then redis.call('HDEL', KEYS[1], ARGV[2]) else redis.call('HSET', KEYS[1], ARGV[2], ARGV[4]) end
if ARGV[6] ~= '' then
  redis.call('HSET', KEYS[3], ARGV[2], ARGV[6])
  redis.call('PEXPIRE', KEYS[3], ARGV[7])
end
return 1
