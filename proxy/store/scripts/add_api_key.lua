-- Keep an API key, unless there is one of that name.
-- Returns 1 done, 0 the name is taken.
-- KEYS  1 API keys by the hash of their bearer
-- ARGV  1 hash   2 record   3 name
for _, record in ipairs(redis.call('HVALS', KEYS[1])) do
  if cjson.decode(record).name == ARGV[3] then return 0 end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
