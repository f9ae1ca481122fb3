-- Append the jobs of one chunk whose target was not planned yet; with the last chunk the callback goes.
-- Idempotent: a second run adds only what is missing. Returns a list: -1 where a lane is full (nothing was done),
-- else for each job 1 appended or 0 planned before.
-- KEYS  1 callbacks   2 planned:<message id>   then per lane: jobs, retries, which both count towards its cap
-- ARGV  1 group   2 callback entry id   3 last chunk (0/1)   4 life of the marks, ms   5 cap of a lane
--       then per job: its lane's place, from 0; target mark; record
for k = 3, #KEYS, 2 do
  if redis.call('XLEN', KEYS[k]) + redis.call('ZCARD', KEYS[k + 1]) >= tonumber(ARGV[5]) then return {-1} end
end
local appended = {}
for i = 6, #ARGV, 3 do
  local new = redis.call('HSETNX', KEYS[2], ARGV[i + 1], '1')
  if new == 1 then redis.call('XADD', KEYS[3 + 2 * tonumber(ARGV[i])], '*', 'r', ARGV[i + 2]) end
  appended[#appended + 1] = new
end
if #appended > 0 then redis.call('PEXPIRE', KEYS[2], ARGV[4]) end
if ARGV[3] == '1' then
  redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
  redis.call('XDEL', KEYS[1], ARGV[2])
end
return appended
