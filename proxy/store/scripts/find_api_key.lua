-- The API key of a bearer, which is used now. That is written once a minute, or not where the store takes no writes.
-- Returns {its record, when it was last used, ms}; false for what is not there.
-- KEYS  1 API keys by the hash of their bearer   2 when each was used, by id
-- ARGV  1 hash   2 id   3 now, ms   4 how long a time that was written is new enough, ms
local record = redis.call('HGET', KEYS[1], ARGV[1])
if not record then return {false, false} end
local used = redis.call('HGET', KEYS[2], ARGV[2])
if not used or math.abs(tonumber(ARGV[3]) - tonumber(used)) >= tonumber(ARGV[4]) then
  redis.pcall('HSET', KEYS[2], ARGV[2], ARGV[3])
end
return {record, used}
