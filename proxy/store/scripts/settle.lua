-- End the claim on entries that are still ours. Returns the ids that were not: another worker has them.
-- KEYS  1 stream   2 retries   3 dead letters
-- ARGV  1 group   2 consumer   3 cap of the dead letters
--       then per entry: id, verb, x, y
--         done  -                    x, y unused
--         retry - try again          x due time in ms, y record
--         dead  - keep for a person  x reason, y record without text
local foreign = {}
for i = 4, #ARGV, 4 do
  local id = ARGV[i]
  local pending = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1)
  if pending[1] and pending[1][2] == ARGV[2] then
    if ARGV[i + 1] == 'retry' then
      redis.call('ZADD', KEYS[2], ARGV[i + 2], ARGV[i + 3])
    elseif ARGV[i + 1] == 'dead' then
      redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[3], '*', 'reason', ARGV[i + 2], 'r', ARGV[i + 3])
    end
    redis.call('XACK', KEYS[1], ARGV[1], id)
    redis.call('XDEL', KEYS[1], id)
  else
    foreign[#foreign + 1] = id
  end
end
return foreign
