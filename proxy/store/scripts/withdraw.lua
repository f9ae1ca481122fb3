-- Take the alerts of some messages back at some targets. The first message is the one that was read or recalled, the
-- others are before it. A target's mark of a message says how far its alert came, and so what is done:
--   none       W            it was not planned, and will not be
--   1          w<record>    planned: deliver leaves it out, or settle.lua sends the record after it
--   s          W            it may be shown: the record goes into the lane, one for all messages of a target
--   f<n> <id>  W            folded: one less is told of; where the phone was told of it, and it was read, as s
--   w..., W    as it is     taken back before
-- A target whose lane is full stays as it is. Idempotent. Returns the places of the full lanes, from 0.
-- KEYS  of each message where its marks may lie: the first is where they are written; then per lane: jobs, retries, which
--       both count towards its cap; folds
-- ARGV  1 how many messages, and how many of them, the first ones, may not be planned yet; and where alerts are folded
--         up to when all was accepted before the first, ms, 0 for a recall: "3/2 1795435200000"
--       2 cap of a lane   3 how long marks are kept at least, ms   4 the messages, and in how many keys the marks of each
--         may lie: "0123456789abcdef0123456789abcdef 3 ..."
--       then per target: its lane's place, from 0; field; record of the withdrawal; where alerts are folded the place of
--       its fold in KEYS
-- with marks.lua
local messages, may_wait = string.match(ARGV[1], '^(%d+)/(%d+)')
messages, may_wait = tonumber(messages), tonumber(may_wait)
local ids, written_to, looked_in, before_lanes = {}, {}, {}, 0
for id, places in string.gmatch(ARGV[4], '(%S+) (%d+)') do
  local m = #ids + 1
  ids[m], written_to[m] = id, KEYS[before_lanes + 1]
  looked_in[m] = existing(before_lanes + 1, before_lanes + places)
  before_lanes = before_lanes + places
end
-- The value of a message's mark, and the key that it lies in; where there is none, the key that it would be written to.
local function state_of(m, field)
  for _, key in ipairs(looked_in[m]) do
    local value = redis.call('HGET', key, name_in(key, field, m))
    if value then return value, key end
  end
  return false, written_to[m]
end
local full = {}
local read_at = tonumber(string.match(ARGV[1], ' (%d+)$'))
local function is_full(lane)
  local jobs = before_lanes + 1 + 2 * lane
  return redis.call('XLEN', KEYS[jobs]) + redis.call('ZCARD', KEYS[jobs + 1]) >= tonumber(ARGV[2])
end

-- Which of a fold's messages it is, and whether the phone was told of it; nil where it is none of them.
local function place_in(fold, message, state)
  local place, first = string.match(state or '', '^f(%d+) (.+)$')
  if not place and (state == '1' or state == 's') and fold.first == ids[message] then
    place, first = 1, fold.first -- the one before it, whose place on the phone it takes
  end
  if not place then return nil, false end
  if first ~= string.sub(fold.first, 1, #first) then return nil, true end -- a bucket has but the beginning of it
  return tonumber(place), tonumber(place) <= fold.told
end

local function fold_of(key)
  local state = redis.call('HMGET', key, 'first', 'told', 'order', 'until')
  if not state[1] then return {first = '-', told = 0, accepted = 0} end
  local accepted = tonumber(string.match(state[3], '(%d+)$'))
  return {first = state[1], told = tonumber(state[2] or 0), accepted = accepted, is_due = state[4]}
end

local function take_from(key, fold, places, record)
  if not fold.accepted or fold.first == '-' then return end
  if read_at > 0 and read_at >= fold.accepted then -- all of it was read
    redis.call('HSET', key, 'count', 0, 'shown', 0, 'told', redis.call('HGET', key, 'seen'))
    redis.call('HDEL', key, 'sounds')
    if fold.is_due then redis.call('HSET', key, 'read', record) end -- its update may be on its way
    return
  end
  local shown = tonumber(redis.call('HGET', key, 'shown') or 0)
  for _, place in ipairs(places) do
    local is_told = place <= fold.told
    if not is_told or shown > 0 then -- else all that the phone was told of was read, and is not counted any more
      if redis.call('HINCRBY', key, 'count', -1) < 0 then redis.call('HSET', key, 'count', 0) end
    end
    if is_told and shown > 0 then shown = redis.call('HINCRBY', key, 'shown', -1) end
  end
end

for i = 5, #ARGV, read_at and 4 or 3 do
  local lane, field, record = tonumber(ARGV[i]), ARGV[i + 1], ARGV[i + 2]
  local states, lies_in, is_shown, places = {}, {}, false, {}
  local key = read_at and KEYS[tonumber(ARGV[i + 3])]
  local fold = key and fold_of(key)
  for m = 1, messages do
    states[m], lies_in[m] = state_of(m, field)
    is_shown = is_shown or states[m] == 's'
    if fold then
      local place, is_told = place_in(fold, m, states[m])
      places[#places + 1] = place
      is_shown = is_shown or (is_told and read_at > 0)
    end
  end
  if is_shown and is_full(lane) then
    full[lane] = true
  else
    if is_shown then redis.call('XADD', KEYS[before_lanes + 1 + 2 * lane], '*', 'r', record) end
    if fold then take_from(key, fold, places, record) end
    for m = 1, messages do
      local name = name_in(lies_in[m], field, m)
      if states[m] == '1' then
        set_withdrawal(lies_in[m], name, record)
      elseif states[m] == 's' or (states[m] and string.sub(states[m], 1, 1) == 'f') or (m <= may_wait and not states[m]) then
        redis.call('HSET', lies_in[m], name, 'W')
        if not states[m] then keep(lies_in[m], ARGV[3]) end
      end
    end
  end
end
local places = {}
for lane in pairs(full) do places[#places + 1] = lane end
return places
