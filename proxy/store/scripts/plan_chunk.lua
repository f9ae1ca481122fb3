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
--       then per lane: jobs, retries, which both count towards its cap; then streams of the history
-- ARGV  1 group   2 callback entry id   3 last chunk (0/1)   4 TTL of the marks, ms   5 cap of a lane
--       6 when a message that waits is due, ms   7 how often it waited then   8 full lanes of earlier chunks, "a:b c:d"
--       9 consumer   10 lanes   11 records of the history
--       then per lane: its name, "a:b"; how many entries to claim
--       then per record of the history: the place of its stream in KEYS, the record
--       then per job: its lane's place, from 0; target mark; record
local lanes, notes = tonumber(ARGV[10]), tonumber(ARGV[11])
local is_full, waits_for = {}, {}
for name in string.gmatch(ARGV[8], '%S+') do waits_for[name] = true end
for lane = 0, lanes - 1 do
  local jobs, retries = KEYS[4 + 2 * lane], KEYS[5 + 2 * lane]
  local length, later = redis.pcall('XLEN', jobs), redis.pcall('ZCARD', retries)
  local is_broken = type(length) == 'table' or type(later) == 'table' -- a key of another type: as if it were full
  is_full[lane] = is_broken or length + later >= tonumber(ARGV[5])
end

local results, has_new = {}, false
for i = 12 + 2 * lanes + 2 * notes, #ARGV, 3 do
  local lane, mark, new = tonumber(ARGV[i]), ARGV[i + 1], 0
  if is_full[lane] then
    if redis.call('HEXISTS', KEYS[2], mark) == 0 then
      new = -1
      waits_for[ARGV[12 + 2 * lane]] = true
    end
  elseif redis.call('HSETNX', KEYS[2], mark, '1') == 1 then
    new, has_new = redis.call('XADD', KEYS[4 + 2 * lane], '*', 'r', ARGV[i + 2]), true
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
    for i = 12 + 2 * lanes, 10 + 2 * lanes + 2 * notes, 2 do
      local answer = redis.pcall('XADD', KEYS[tonumber(ARGV[i])], '*', 'r', ARGV[i + 1])
      if type(answer) == 'table' then unnoted[#unnoted + 1] = answer.err end
    end
  end
end

-- last, where nothing can fail any more: after an error nobody would know of the claims for a lease
local claimed = {}
for lane = 0, lanes - 1 do
  local most, read = ARGV[13 + 2 * lane], false
  if most ~= '0' then -- without the group nothing is claimed here, and the lane's own claim makes it
    read = redis.pcall('XREADGROUP', 'GROUP', ARGV[1], ARGV[9], 'COUNT', most, 'STREAMS', KEYS[4 + 2 * lane], '>')
  end
  claimed[lane + 1] = read and read[1] and read[1][2] or {}
end
return {results, claimed, unnoted}
