-- Keep an account's preferences, unless they have changed since the caller read them.
-- Returns 1 done, 0 they have changed.
-- KEYS  1 the account's preferences
-- ARGV  1 record, "" where all is as if nothing had been set   2 TTL, s   3 digest of the record before, "": whichever
if ARGV[3] ~= '' and redis.sha1hex(redis.call('GET', KEYS[1]) or '') ~= ARGV[3] then return 0 end
if ARGV[1] == '' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
end
return 1
