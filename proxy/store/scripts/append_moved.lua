-- Append entries that come from streams of other shards, each once, in the order given. Their ids keep the time, as far as
-- ids of a stream may only grow. Returns how many were appended.
-- KEYS  1 stream   2 of each source the id of its last entry that was appended
-- ARGV  1 prefix of the keys of a dead letter's words; '' for other streams
--       then per entry: source, id there, its words ('': none), their TTL, ms, how many fields and values, and these
local function parts(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq)
end
local function is_after(id, other)
  local ms, seq = parts(id)
  local other_ms, other_seq = parts(other)
  return ms > other_ms or (ms == other_ms and seq > other_seq)
end

local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
local last_ms, last_seq = parts(newest and newest[1] or '0-0')
local appended, i = 0, 2
while i <= #ARGV do
  local source, id, words, ttl, count = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], tonumber(ARGV[i + 4])
  local done = redis.call('HGET', KEYS[2], source)
  if not done or is_after(id, done) then
    local ms, seq = parts(id)
    if ms < last_ms or (ms == last_ms and seq <= last_seq) then ms, seq = last_ms, last_seq + 1 end
    local name = string.format('%.0f-%.0f', ms, seq)
    redis.call('XADD', KEYS[1], name, unpack(ARGV, i + 5, i + 4 + count))
    if words ~= '' then redis.call('SET', ARGV[1] .. name, words, 'PX', ttl) end
    redis.call('HSET', KEYS[2], source, id)
    last_ms, last_seq, appended = ms, seq, appended + 1
  end
  i = i + 5 + count
end
return appended
