-- Messages of an account are read, or recalled: they are unread no longer. Where that changes the number on its phones
-- they are told, by one job each when the window ends, in which no other is made: the number is read when it is pushed.
-- In the window's last second another is: the job may be under way, for it is due by the clock of who asks, who has looked
-- before it came here.
-- Returns how many of them were unread, and how many messages still are.
-- KEYS  1 badge   2 badge-due   then per job: retries of its lane
-- ARGV  1 conversation, '' for all   2 ids of messages, one after the other   3 and those accepted up to then, ms
--       4 window, ms   5 when it ends, ms   6 TTL, ms   then per job: record
local ENTRY, TIME = 8, 5 -- see plan_chunk.lua
local is_named = {}
for i = 1, #ARGV[2], ENTRY - TIME do is_named[string.sub(ARGV[2], i, i + ENTRY - TIME - 1)] = true end
local function is_gone(entry)
  local a, b, c, d, e = string.byte(entry, 1, TIME)
  return is_named[string.sub(entry, TIME + 1)] or (((a * 256 + b) * 256 + c) * 256 + d) * 256 + e <= tonumber(ARGV[3])
end

local known = redis.call('HMGET', KEYS[1], 'total', ARGV[1])
local before, left = tonumber(known[1] or 0), 0
if ARGV[1] == '' then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'floor', ARGV[3])
  redis.call('PEXPIRE', KEYS[1], ARGV[6])
elseif not known[2] then
  return {0, before}
else
  local kept = {}
  for i = 1, #known[2], ENTRY do
    local entry = string.sub(known[2], i, i + ENTRY - 1)
    if not is_gone(entry) then kept[#kept + 1] = entry end
  end
  left = before - #known[2] / ENTRY + #kept
  redis.call('HSET', KEYS[1], 'total', left)
  if #kept == 0 then
    redis.call('HDEL', KEYS[1], ARGV[1])
  else
    redis.call('HSET', KEYS[1], ARGV[1], table.concat(kept))
  end
end
local gone = before - left
if gone > 0 and #ARGV > 6 and redis.call('PTTL', KEYS[2]) <= 1000 then
  redis.call('SET', KEYS[2], '1', 'PX', ARGV[4])
  for i = 7, #ARGV do redis.call('ZADD', KEYS[i - 4], ARGV[5], ARGV[i]) end
end
return {gone, left}
