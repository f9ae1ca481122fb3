-- Append the jobs of one chunk whose target was not planned yet; with the last chunk the callback goes.
-- Idempotent: a second run adds only what is missing. A lane that is full takes none of its jobs, and the others take
-- theirs; the message then waits for the full lanes, unless another worker has ended its callback meanwhile.
-- What was appended may be claimed in the same step, by a worker that has room for it: an entry that is older and that
-- no worker has claimed comes first, as always.
-- The worker that ends the callback also notes in the history why others got no job; a history that cannot be written
-- hinders nothing.
-- Returns {for each job its entry id, 0 planned before, or -1 its lane is full; for each lane the entries claimed; the
-- errors of the history}.
-- KEYS  1 callbacks   2 planned:<message id>   3 waiting
--       then per lane: jobs, retries, which both count towards its cap
--       then per account for which the message is counted: its unread messages of the conversation, its badge
--       then streams of the history
-- ARGV  1 group   2 callback entry id   3 last chunk (0/1)   4 TTL of the marks, ms   5 cap of a lane
--       6 when a message that waits is due, ms   7 how often it waited then   8 full lanes of earlier chunks, "a:b c:d"
--       9 consumer   10 lanes   11 records of the history   12 how many accounts the message is counted for
--       then per lane: its name, "a:b"; how many entries to claim
--       then per record of the history: the place of its stream in KEYS, the record
--       then, where it is counted: conversation; message; when it was accepted, now and TTL, ms; at most so many unread
--       messages of a conversation, and conversations
--       then per job: its lane's place, from 0; target mark; record; where it is counted its account's place, from 0
local lanes, notes, accounts = tonumber(ARGV[10]), tonumber(ARGV[11]), tonumber(ARGV[12])
local first_note = 13 + 2 * lanes -- in ARGV, as below
local first_count = first_note + 2 * notes
local first_job, step = first_count, 3
if accounts > 0 then first_job, step = first_count + 7, 4 end
local is_full, waits_for = {}, {}
for name in string.gmatch(ARGV[8], '%S+') do waits_for[name] = true end
for lane = 0, lanes - 1 do
  local jobs, retries = KEYS[4 + 2 * lane], KEYS[5 + 2 * lane]
  local length, later = redis.pcall('XLEN', jobs), redis.pcall('ZCARD', retries)
  local is_broken = type(length) == 'table' or type(later) == 'table' -- a key of another type: as if it were full
  is_full[lane] = is_broken or length + later >= tonumber(ARGV[5])
end

-- The message is unread from its first job for the account on. What was read stays read, for a repeat makes no new job.
local function count(account)
  local conversation, message, at = ARGV[first_count], ARGV[first_count + 1], tonumber(ARGV[first_count + 2])
  local now, ttl = tonumber(ARGV[first_count + 3]), tonumber(ARGV[first_count + 4])
  local unread, badge = KEYS[4 + 2 * lanes + 2 * account], KEYS[5 + 2 * lanes + 2 * account]
  local floor = math.max(tonumber(redis.call('HGET', badge, 'floor') or 0), now - ttl)
  if at <= floor then return end
  redis.call('ZADD', unread, 'NX', at, message)
  redis.call('ZREMRANGEBYSCORE', unread, '-inf', floor)
  redis.call('ZREMRANGEBYRANK', unread, 0, -tonumber(ARGV[first_count + 5]) - 1)
  redis.call('PEXPIRE', unread, ttl)
  local counted = tonumber(string.match(redis.call('HGET', badge, conversation) or '0', '^%d+'))
  local number = redis.call('ZCARD', unread)
  redis.call('HSET', badge, conversation, string.format('%d %.0f', number, now))
  redis.call('HINCRBY', badge, 'total', number - counted)
  redis.call('PEXPIRE', badge, ttl)
  local is_many = redis.call('HLEN', badge) > tonumber(ARGV[first_count + 6]) + 3
  if is_many or now > tonumber(redis.call('HGET', badge, 'sweep') or 0) then -- once a day, or the oldest goes
    local all, oldest, oldest_at = redis.call('HGETALL', badge), nil, now
    redis.call('HSET', badge, 'sweep', string.format('%.0f', now + 86400000))
    for i = 1, #all, 2 do
      local its, newest = string.match(all[i + 1], '^(%d+) (%d+)$')
      if its and tonumber(newest) <= now - ttl then
        redis.call('HDEL', badge, all[i])
        redis.call('HINCRBY', badge, 'total', -its)
      elseif its and tonumber(newest) < oldest_at then
        oldest, oldest_at = i, tonumber(newest)
      end
    end
    if is_many and oldest then
      redis.call('HDEL', badge, all[oldest])
      redis.call('HINCRBY', badge, 'total', -string.match(all[oldest + 1], '^%d+'))
    end
  end
end

local results, has_new = {}, false
for i = first_job, #ARGV, step do
  local lane, mark, new = tonumber(ARGV[i]), ARGV[i + 1], 0
  if is_full[lane] then
    if redis.call('HEXISTS', KEYS[2], mark) == 0 then
      new = -1
      waits_for[ARGV[13 + 2 * lane]] = true
    end
  elseif redis.call('HSETNX', KEYS[2], mark, '1') == 1 then
    new, has_new = redis.call('XADD', KEYS[4 + 2 * lane], '*', 'r', ARGV[i + 2]), true
    if step == 4 then count(tonumber(ARGV[i + 3])) end
  end
  results[#results + 1] = new
end
if has_new then redis.call('PEXPIRE', KEYS[2], ARGV[4]) end
local unnoted = {}
if ARGV[3] ~= '0' then
  if next(waits_for) then
    local entry = redis.call('XRANGE', KEYS[1], ARGV[2], ARGV[2])[1]
    if entry then
      local names = {}
      for name in pairs(waits_for) do names[#names + 1] = name end
      table.sort(names)
      redis.call('ZADD', KEYS[3], ARGV[6], ARGV[7] .. ' ' .. table.concat(names, ' ') .. '\n' .. entry[2][2])
    end
  end
  local ended = redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
  redis.call('XDEL', KEYS[1], ARGV[2])
  if ended == 1 then -- another worker that planned it too has noted it
    for i = first_note, first_count - 2, 2 do
      local answer = redis.pcall('XADD', KEYS[tonumber(ARGV[i])], '*', 'r', ARGV[i + 1])
      if type(answer) == 'table' then unnoted[#unnoted + 1] = answer.err end
    end
  end
end

-- last, where nothing can fail any more: after an error nobody would know of the claims for a lease
local claimed = {}
for lane = 0, lanes - 1 do
  local most, read = ARGV[14 + 2 * lane], false
  if most ~= '0' then -- without the group nothing is claimed here, and the lane's own claim makes it
    read = redis.pcall('XREADGROUP', 'GROUP', ARGV[1], ARGV[9], 'COUNT', most, 'STREAMS', KEYS[4 + 2 * lane], '>')
  end
  claimed[lane + 1] = read and read[1] and read[1][2] or {}
end
return {results, claimed, unnoted}
