-- Claim entries whose worker has not renewed its lease. Returns {id, record, deliveries so far} for each.
-- KEYS  1 stream
-- ARGV  1 group   2 consumer   3 lease, ms   4 at most so many
local claimed = {}
for _, pending in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], 'IDLE', ARGV[3], '-', '+', ARGV[4])) do
  local entry = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], pending[1])[1]
  if entry then
    claimed[#claimed + 1] = {entry[1], entry[2][2], pending[4]}
  else -- deleted without an acknowledgement: nothing is left to do
    redis.call('XACK', KEYS[1], ARGV[1], pending[1])
  end
end
return claimed
