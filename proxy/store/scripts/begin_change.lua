-- Begin to change an account's registrations: note the one that is about to take push tokens, and take over what a change
-- that never ended has left.
-- Returns the account's registration of the device; then of each that was taken over: field, registration, and what the
-- account has for that device now.
-- KEYS  1 the account's leftovers   2 its registrations
-- ARGV  1 this change, "<its ms>-<text>"   2 who began up to then has ended, ms   3 TTL, s   4 device id
--       5 field   6 registration; both "": none
local answer = {redis.call('HGET', KEYS[2], ARGV[4])}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local began, device = string.match(all[i], '^(%d+)-[^\n]*\n(.*)$')
  if not began or tonumber(began) <= tonumber(ARGV[2]) then
    local field = ARGV[1] .. ':left' .. i .. '\n' .. (device or '')
    redis.call('HDEL', KEYS[1], all[i])
    redis.call('HSET', KEYS[1], field, all[i + 1])
    answer[#answer + 1] = {field, all[i + 1], redis.call('HGET', KEYS[2], device or '')}
  end
end
if ARGV[5] ~= '' then redis.call('HSET', KEYS[1], ARGV[5], ARGV[6]) end
redis.call('EXPIRE', KEYS[1], ARGV[3])
return answer
