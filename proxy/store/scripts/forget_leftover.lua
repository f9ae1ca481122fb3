-- Forget a leftover, as its push tokens are free but for those that the list names; not if the list has changed since.
-- Returns 1 forgotten, 0 it is left for the next change.
-- KEYS  1 account's registrations   2 its leftovers
-- ARGV  1 device id   2 registration that the list had   3 field
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HDEL', KEYS[2], ARGV[3])
return 1
