-- File new notes of the history by their buckets, once: their entries go, and no others. Returns how many were not taken.
-- KEYS  1 the new ones   then per bucket: its stream
-- ARGV  1 id of the oldest entry that is filed; where another worker filed it before there is nothing to do
--       2 the least id that stays   then per bucket: name and value of the field of its entry
local oldest, lost = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1], 0
if not oldest or oldest[1] ~= ARGV[1] then return 0 end
for i = 2, #KEYS do
  local answer = redis.pcall('XADD', KEYS[i], '*', ARGV[2 * i - 1], ARGV[2 * i])
  if type(answer) == 'table' then
    if string.find(answer.err, 'OOM ', 1, true) then return redis.error_reply(answer.err) end -- as nothing was filed
    lost = lost + 1
  end
end
redis.call('XTRIM', KEYS[1], 'MINID', ARGV[2])
return lost
