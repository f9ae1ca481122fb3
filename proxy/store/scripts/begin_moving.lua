-- From now on no process works with this store, until all is where other shards have it. Returns what is under way: as it
-- is asked, or as an earlier call began it.
-- KEYS  1 generation
-- ARGV  1 shards as they were known   2 what is to be under way
local known = redis.call('HMGET', KEYS[1], 'shards', 'moves')
if known[2] then return known[2] end
if (known[1] or '') ~= ARGV[1] then return redis.error_reply('ERR the store has other shards by now') end
redis.call('HSET', KEYS[1], 'moves', ARGV[2])
return ARGV[2]
