-- End the claim on entries that are still ours. Returns the ids that were not: another worker has them.
-- KEYS  1 stream   2 retries   3 dead letters
-- ARGV  1 group   2 consumer   3 cap of the dead letters   4 prefix of their words' keys   5 life of the words, ms
--       then per entry: id, verb and what the verb takes
--         done
--         retry  due time in ms, record                  try again
--         dead   reason, cause, kind, record, words      keep for a person; only the last of them has people's words
local takes = {done = 0, retry = 2, dead = 5}
local foreign = {}
local i = 6
while i <= #ARGV do
  local id, verb = ARGV[i], ARGV[i + 1]
  local pending = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1)
  if pending[1] and pending[1][2] == ARGV[2] then
    if verb == 'retry' then
      redis.call('ZADD', KEYS[2], ARGV[i + 2], ARGV[i + 3])
    elseif verb == 'dead' then
      local letter = redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[3], '*',
        'reason', ARGV[i + 2], 'cause', ARGV[i + 3], 'kind', ARGV[i + 4], 'r', ARGV[i + 5])
      redis.call('SET', ARGV[4] .. letter, ARGV[i + 6], 'PX', ARGV[5])
    end
    redis.call('XACK', KEYS[1], ARGV[1], id)
    redis.call('XDEL', KEYS[1], id)
  else
    foreign[#foreign + 1] = id
  end
  i = i + 2 + takes[verb]
end
return foreign
