-- Take registrations out of an account's list, one by one as long as more are there than are to be kept. They are left
-- over, until their push tokens are freed.
-- Returns {device, field among the leftovers, registration} of each.
-- KEYS  1 account's registrations   2 its leftovers
-- ARGV  1 this change   2 TTL, s   3 so many are kept   then of each the device id, and the registration ("": any)
local answer = {}
for i = 4, #ARGV, 2 do
  local device, field = ARGV[i], ARGV[1] .. ':' .. i .. '\n' .. ARGV[i]
  local is = redis.call('HGET', KEYS[1], device)
  if is and (ARGV[i + 1] == '' or is == ARGV[i + 1]) and redis.call('HLEN', KEYS[1]) > tonumber(ARGV[3]) then
    redis.call('HSET', KEYS[2], field, is)
    redis.call('EXPIRE', KEYS[2], ARGV[2])
    redis.call('HDEL', KEYS[1], device)
  end
  local dropped = redis.call('HGET', KEYS[2], field) -- by this call, or before where its answer was lost
  if dropped then answer[#answer + 1] = {device, field, dropped} end
end
return answer
