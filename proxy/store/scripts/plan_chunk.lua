-- Append the jobs of one chunk whose target was not planned yet. Idempotent: a second run adds only what is missing.
-- A lane that is full takes none of its jobs, and the others take theirs.
-- What was appended may be claimed in the same step, by a worker that has room for it: an entry that is older and that
-- no worker has claimed comes first, as always.
-- Where alerts are folded the first one of a conversation goes out at once; those that follow in its window are counted
-- for the target instead, and one update becomes due in its lane's retries when the window ends. As long as that one is
-- on its way, to its end in settle.lua, all that follows is told with it.
-- Returns {for each job its entry id, 0 planned before, -1 its lane is full, or {the message that names its fold}; for
-- each lane the entries claimed}. All keys and accounts are of one shard.
-- KEYS  where the message's marks may lie: the first is where they are written
--       then per lane: jobs, retries, which both count towards its cap
--       then per account for which the message is counted: its badge; then folds; last, where there are any, the words
-- ARGV  1 group   2 consumer   3 how long marks are kept at least, ms, and how many keys they may lie in: "86400000 3"
--       4 lanes   5 how many accounts the message is counted for; and where
--       alerts are folded the window, ms: "3 60000"   6 words that some of the jobs name ('': none)   7 their TTL, ms
--       then per lane: its cap; how many entries to claim
--       then, where it is counted: conversation; entry; when it was accepted, now and TTL, ms; at most so many unread
--       messages of a conversation, and conversations
--       then, where it is folded: message; its order; when it expires and now, ms
--       then per job: its lane's place, from 0; target's field; record; where it is counted its account's place, from 0;
--       where it is folded the place of the fold in KEYS (0: it goes at once), whether it may sound and whether the
--       alerts of the lane replace each other (0/1)
-- with marks.lua
local lanes, accounts = tonumber(ARGV[4]), tonumber(string.match(ARGV[5], '^%d+'))
local window = tonumber(string.match(ARGV[5], ' (%d+)$'))
local ttl, places = string.match(ARGV[3], '^(%d+) (%d+)$')
places = tonumber(places)
local first_count = 8 + 2 * lanes -- in ARGV, as below
local first_job, step = first_count, 3
if accounts > 0 then first_job, step = first_count + 7, 4 end
local first_fold, fold_of_job = first_job, step
if window then first_job, step = first_job + 4, step + 3 end
local is_full = {}
for lane = 0, lanes - 1 do
  local jobs, retries = KEYS[places + 1 + 2 * lane], KEYS[places + 2 + 2 * lane]
  local length, later = redis.pcall('XLEN', jobs), redis.pcall('ZCARD', retries)
  local is_broken = type(length) == 'table' or type(later) == 'table' -- a key of another type: as if it were full
  is_full[lane] = is_broken or length + later >= tonumber(ARGV[8 + 2 * lane])
end

-- The message is unread from its first job for the account on. What was read stays read, for a repeat makes no new job.
local ENTRY, TIME = 8, 5 -- bytes of an unread message: when it was accepted, ms since the epoch of unread.py; then its id
local function time_at(entries, i)
  local a, b, c, d, e = string.byte(entries, i, i + 4)
  return (((a * 256 + b) * 256 + c) * 256 + d) * 256 + e
end
local function fresh(entries, floor)
  local kept = {}
  for i = 1, #entries, ENTRY do
    if time_at(entries, i) > floor then kept[#kept + 1] = string.sub(entries, i, i + ENTRY - 1) end
  end
  return table.concat(kept)
end
local function has(entries, id) -- another callback about the same message came at a time of its own
  local from = string.find(entries, id, 1, true)
  while from and from % ENTRY ~= TIME + 1 do from = string.find(entries, id, from + 1, true) end
  return from ~= nil
end
local function sweep(badge, now, floor, most) -- once a day, and where there are too many conversations
  local all, counted, total = redis.call('HGETALL', badge), {}, 0
  for i = 1, #all, 2 do
    local entries = all[i + 1]
    if #all[i] == 16 then -- a conversation
      local kept = fresh(entries, floor)
      if kept == '' then
        redis.call('HDEL', badge, all[i])
      else
        if kept ~= entries then redis.call('HSET', badge, all[i], kept) end
        counted[#counted + 1] = {all[i], #kept / ENTRY, time_at(kept, #kept - ENTRY + 1)}
        total = total + #kept / ENTRY
      end
    end
  end
  if #counted > most then
    table.sort(counted, function(a, b) return a[3] < b[3] end)
    redis.call('HDEL', badge, counted[1][1])
    total = total - counted[1][2]
  end
  redis.call('HSET', badge, 'total', total, 'sweep', string.format('%.0f', now + 86400000))
end
local function count(account)
  local badge, conversation, entry = KEYS[places + 1 + 2 * lanes + account], ARGV[first_count], ARGV[first_count + 1]
  local at, now, ttl = tonumber(ARGV[first_count + 2]), tonumber(ARGV[first_count + 3]), tonumber(ARGV[first_count + 4])
  local known = redis.call('HMGET', badge, conversation, 'total', 'floor', 'sweep')
  local entries, floor = known[1] or '', math.max(tonumber(known[3] or 0), now - ttl)
  if at <= floor or has(entries, string.sub(entry, TIME + 1)) then return end
  local total = tonumber(known[2] or 0)
  if #entries < ENTRY * tonumber(ARGV[first_count + 5]) then
    total = total + 1
  else
    entries = string.sub(entries, ENTRY + 1)
  end
  redis.call('HSET', badge, conversation, entries .. entry, 'total', total)
  redis.call('PEXPIRE', badge, ttl)
  local most = tonumber(ARGV[first_count + 6]) -- beside total, sweep and perhaps floor
  if now > tonumber(known[4] or 0) or (not known[1] and redis.call('HLEN', badge) > most + (known[3] and 3 or 2)) then
    sweep(badge, now, floor, most)
  end
end

local function is_later(order, than) -- decimal numbers that may be too large for Lua; see domain/alerts.py
  local those = {string.match(than, '([^,]+),([^,]+),([^,]+)')}
  for place, mine in ipairs({string.match(order, '([^,]+),([^,]+),([^,]+)')}) do
    local its = those[place]
    if mine ~= '0' and its ~= '0' and mine ~= its then
      if #mine ~= #its then return #mine > #its end
      return mine > its
    end
  end
  return false
end

-- An update that ought to be told and was not for so long, ms, may be lost: an earlier program buries what it cannot
-- read, a lane is served no longer. Then another one is made, which tells nothing where there is no news.
local LATE = 900000
local function ms(number) return string.format('%.0f', number) end

-- The record of a job as that of an update: see load_job in records.py and compact_records.py.
local function as_update(record, count)
  if string.sub(record, 1, 1) ~= '{' then return '\3' .. count .. '\255' .. record end
  return '{"v":2,"count":' .. count .. ',' .. string.sub(record, #'{"v":1,' + 1)
end

-- The message that names the fold that the job went into; nil where the job goes out at once.
local function fold(i, lane, mark, record)
  if not window or ARGV[i] == '0' then return nil end
  local key, message, order = KEYS[tonumber(ARGV[i])], ARGV[first_fold], ARGV[first_fold + 1]
  local expires, now = tonumber(ARGV[first_fold + 2]), tonumber(ARGV[first_fold + 3])
  local state = redis.call('HMGET', key, 'next', 'until', 'order', 'again')
  local is_due, again = tonumber(state[2] or 0) > now, tonumber(state[4] or 0)
  local window_end = math.min(tonumber(state[1] or 0), now + window) -- less: of a clock that was ahead
  if not is_due and window_end <= now then -- the first one after a pause
    redis.call('DEL', key)
    redis.call('HSET', key, 'next', ms(now + window))
    if ARGV[i + 2] == '1' then -- an update will take its place on the phone, and so tells of it too
      redis.call('HSET', key, 'first', message, 'order', order, 'count', 1, 'shown', 1, 'seen', 1, 'told', 1)
    end
    redis.call('PEXPIRE', key, window)
    return nil
  end
  if not is_due and expires <= window_end then return nil end -- the update would come too late
  redis.call('HSETNX', key, 'first', message)
  local place = redis.call('HINCRBY', key, 'seen', 1)
  redis.call('HINCRBY', key, 'count', 1)
  if not state[3] or is_later(order, state[3]) then redis.call('HSET', key, 'order', order) end
  if ARGV[i + 1] == '1' then redis.call('HSET', key, 'sounds', 1, 'loud', place) end
  if not is_due or again <= now or again > now + window + LATE then
    local due = math.max(window_end, now)
    redis.call('ZADD', KEYS[places + 2 + 2 * lane], due, as_update(record, is_due and 0 or 1))
    redis.call('HSET', key, 'again', ms(due + LATE))
  end
  if expires > tonumber(state[2] or 0) then redis.call('HSET', key, 'until', ms(expires)) end
  redis.call('PEXPIRE', key, math.max(expires - now + window, redis.call('PTTL', key)))
  local first = redis.call('HGET', key, 'first')
  local name_of_first = is_bucket(KEYS[1]) and string.sub(first, 1, 8) or first
  redis.call('HSET', KEYS[1], name_in(KEYS[1], mark), 'f' .. place .. ' ' .. name_of_first)
  return first
end

local others = existing(2, places)
local function is_known(mark)
  for _, key in ipairs(others) do
    if redis.call('HEXISTS', key, name_in(key, mark)) == 1 then return true end
  end
  return false
end

local results, has_new = {}, false
for i = first_job, #ARGV, step do
  local lane, mark, new = tonumber(ARGV[i]), ARGV[i + 1], 0
  local name = name_in(KEYS[1], mark)
  if is_known(mark) then
    new = 0
  elseif is_full[lane] then
    if redis.call('HEXISTS', KEYS[1], name) == 0 then new = -1 end
  elseif redis.call('HSETNX', KEYS[1], name, '1') == 1 then
    local first = fold(i + fold_of_job, lane, mark, ARGV[i + 2])
    new, has_new = first and {first} or redis.call('XADD', KEYS[places + 1 + 2 * lane], '*', 'r', ARGV[i + 2]), true
    if accounts > 0 then count(tonumber(ARGV[i + 3])) end
  end
  results[#results + 1] = new
end
if has_new then
  keep(KEYS[1], ttl)
  if ARGV[6] ~= '' then redis.call('SET', KEYS[#KEYS], ARGV[6], 'PX', ARGV[7]) end
end

-- last, where nothing can fail any more: after an error nobody would know of the claims for a lease
local claimed = {}
for lane = 0, lanes - 1 do
  local most, read = ARGV[9 + 2 * lane], false
  if most ~= '0' then -- without the group nothing is claimed here, and the lane's own claim makes it
    read = redis.pcall('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', most, 'STREAMS', KEYS[places + 1 + 2 * lane], '>')
  end
  claimed[lane + 1] = read and read[1] and read[1][2] or {}
end
return {results, claimed}
