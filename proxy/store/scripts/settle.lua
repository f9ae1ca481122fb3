-- End the claim on entries that are still ours. Returns {writes counted so far, ids that another worker has, {id, error}
-- for each settlement that the store refuses, and the errors of the history}: one that fails does not hinder those
-- behind it. Where the store can take nothing at all that is the answer; the caller puts first what needs room, so that
-- nothing was done. What was settled is noted in the history, and a history that cannot be written hinders nothing.
-- All keys are of one shard.
-- KEYS  1 stream   2 retries, or of callbacks those that wait for full lanes   3 dead letters   4 writes   5 new notes of the history
--       6.. streams that jobs are moved to, where marks are written, and folds
-- ARGV  1 group   2 consumer   3 cap of the dead letters   4 prefix of their words' keys   5 TTL of the words, ms
--       then per entry: id, verb and what the verb takes, its notes for the history
--         done
--         shown  place of the mark's key in KEYS, field        the alert may be shown: where it was taken back meanwhile
--                                                              the record that withdraw.lua left is appended to KEYS 1
--         retry  due time in ms, record                  try again
--         move   place of the stream in KEYS, record     appended there
--         wait   due time in ms, head                    a callback's message waits, with the head before its record
--         dead   reason, cause, kind, record, words      kept for an operator; only the last of them has people's words
--         dead of webhook   the same; not kept where dead letters fill half of their cap: the rest is for alerts
--         told   place of the fold in KEYS, how many messages it had seen (-1: all; 0: it told of none of them), end of
--                the window that begins now, ms ('': none does), record
--                                                        an update of a fold ends: where more messages came meanwhile the
--                                                        record is the next update
--         told dead   the same, then as dead
-- with marks.lua
local takes = {done = 0, shown = 2, retry = 2, move = 2, wait = 2, dead = 5, told = 4, ['told dead'] = 9,
               ['dead of webhook'] = 5}
local carry_out = {
  done = function() return {} end,
  shown = function(i)
    local planned = KEYS[tonumber(ARGV[i])]
    local mark = name_in(planned, ARGV[i + 1])
    local state = redis.pcall('HGET', planned, mark)
    if state == '1' then
      redis.pcall('HSET', planned, mark, 's') -- without room for it the entry is finished all the same
    elseif type(state) == 'string' and string.sub(state, 1, 1) == 'w' then
      local record = withdrawal_of(planned, mark, state)
      local withdrawal = not record or redis.pcall('XADD', KEYS[1], '*', 'r', record)
      if type(withdrawal) == 'table' then return withdrawal end
      redis.pcall('HSET', planned, mark, 'W')
    end
    return {}
  end,
  retry = function(i) return redis.pcall('ZADD', KEYS[2], ARGV[i], ARGV[i + 1]) end,
  move = function(i) return redis.pcall('XADD', KEYS[tonumber(ARGV[i])], '*', 'r', ARGV[i + 1]) end,
  wait = function(i, id)
    local entry = redis.call('XRANGE', KEYS[1], id, id)[1]
    return entry and redis.pcall('ZADD', KEYS[2], ARGV[i], ARGV[i + 1] .. entry[2][2]) or {}
  end,
  dead = function(i)
    local letter = redis.pcall('XADD', KEYS[3], 'MAXLEN', '~', ARGV[3], '*',
      'reason', ARGV[i], 'cause', ARGV[i + 1], 'kind', ARGV[i + 2], 'r', ARGV[i + 3])
    if type(letter) == 'string' then redis.call('SET', ARGV[4] .. letter, ARGV[i + 4], 'PX', ARGV[5]) end
    return letter
  end,
}
carry_out['dead of webhook'] = function(i)
  if redis.call('XLEN', KEYS[3]) >= tonumber(ARGV[3]) / 2 then return {} end
  return carry_out.dead(i)
end
local LATE = 900000 -- see plan_chunk.lua
function carry_out.told(i)
  local key, seen, next_at = KEYS[tonumber(ARGV[i])], tonumber(ARGV[i + 1]), ARGV[i + 2]
  local state = redis.pcall('HMGET', key, 'count', 'seen', 'next', 'read', 'loud')
  if state.err then return state end
  if not state[2] or seen == 0 then return {} end -- the store has lost it
  local count, all = tonumber(state[1]), tonumber(state[2])
  if seen < 0 then seen = all end
  local shown = math.max(count - (all - seen), 0)
  local done = redis.pcall('HSET', key, 'told', seen, 'shown', shown)
  if type(done) ~= 'table' and count > shown then
    local due = next_at ~= '' and next_at or state[3]
    done = redis.pcall('ZADD', KEYS[2], due, ARGV[i + 3])
    if type(done) ~= 'table' then redis.call('HSET', key, 'again', string.format('%.0f', due + LATE)) end
  end
  if type(done) == 'table' then return done end
  if next_at ~= '' then redis.call('HSET', key, 'next', next_at) end
  redis.call('HDEL', key, 'read')
  if tonumber(state[5] or 0) <= seen then redis.call('HDEL', key, 'sounds') end
  if state[4] and next_at ~= '' then redis.call('XADD', KEYS[1], '*', 'r', state[4]) end -- read while it was on its way
  if count <= shown then redis.call('HDEL', key, 'until') end
  return {}
end
carry_out['told dead'] = function(i)
  local letter = carry_out.dead(i + 4)
  if type(letter) == 'table' then return letter end
  local ended = carry_out.told(i)
  return ended.err and {} or ended -- the letter is kept: it must not become two
end
local function can_take_nothing(err)
  for _, sign in ipairs({'OOM ', 'READONLY ', 'MISCONF ', 'NOREPLICAS '}) do
    if string.find(err, sign, 1, true) then return true end
  end
  return false
end

local foreign, refused, notes = {}, {}, {}
local i = 6
while i <= #ARGV do
  local id, verb = ARGV[i], ARGV[i + 1]
  local pending = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1)
  local last = i + 2 + takes[verb]
  if pending[1] and pending[1][2] == ARGV[2] then
    local answer = carry_out[verb](i + 2, id)
    if type(answer) == 'table' and answer.err then
      if can_take_nothing(answer.err) then return answer end
      refused[#refused + 1] = {id, answer.err}
    else
      redis.call('XACK', KEYS[1], ARGV[1], id)
      redis.call('XDEL', KEYS[1], id)
      notes[#notes + 1] = ARGV[last]
    end
  else
    foreign[#foreign + 1] = id
  end
  i = last + 1
end

local unnoted, noted = {}, table.concat(notes)
if noted ~= '' then
  local answer = redis.pcall('XADD', KEYS[5], '*', 'r', noted)
  if type(answer) == 'table' then unnoted[1] = answer.err end
end
local writes = redis.pcall('INCR', KEYS[4]) -- without room for it entries are finished all the same
return {type(writes) == 'number' and writes or 0, foreign, refused, unnoted}
