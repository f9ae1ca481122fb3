-- Take the alerts of some messages back at some targets. The first message is the one that was read or recalled, the
-- others are before it. A target's mark of a message says how far its alert came, and so what is done:
--   none       W            it was not planned, and will not be
--   1          w<record>    planned: deliver leaves it out, or settle.lua sends the record after it
--   s          W            it may be shown: the record goes into the lane, one for all messages of a target
--   w..., W    as it is     taken back before
-- A target whose lane is full stays as it is. Idempotent. Returns the places of the full lanes, from 0.
-- KEYS  planned:<message id> of each message; then per lane: jobs, retries, which both count towards its cap
-- ARGV  1 how many messages   2 cap of a lane   3 TTL of the marks, ms
--       then per target: its lane's place, from 0; mark; record of the withdrawal
local messages, full = tonumber(ARGV[1]), {}
local function is_full(lane)
  local jobs = messages + 1 + 2 * lane
  return redis.call('XLEN', KEYS[jobs]) + redis.call('ZCARD', KEYS[jobs + 1]) >= tonumber(ARGV[2])
end

for i = 4, #ARGV, 3 do
  local lane, mark, record = tonumber(ARGV[i]), ARGV[i + 1], ARGV[i + 2]
  local states, is_shown = {}, false
  for m = 1, messages do
    states[m] = redis.call('HGET', KEYS[m], mark)
    is_shown = is_shown or states[m] == 's'
  end
  if is_shown and is_full(lane) then
    full[lane] = true
  else
    if is_shown then redis.call('XADD', KEYS[messages + 1 + 2 * lane], '*', 'r', record) end
    for m = 1, messages do
      if states[m] == '1' then
        redis.call('HSET', KEYS[m], mark, 'w' .. record)
      elseif states[m] == 's' or (m == 1 and not states[m]) then
        redis.call('HSET', KEYS[m], mark, 'W')
        if not states[m] and redis.call('PTTL', KEYS[m]) < 0 then redis.call('PEXPIRE', KEYS[m], ARGV[3]) end
      end
    end
  end
end
local places = {}
for lane in pairs(full) do places[#places + 1] = lane end
return places
