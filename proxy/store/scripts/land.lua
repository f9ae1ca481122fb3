-- The pushes of some conversations have ended: release their locks, and remember what is shown and what may be.
-- KEYS  per conversation: lock, shown, sent
-- ARGV  1 instance   2 TTL, ms   then per conversation: order of its alert ('' if none went out), accepted (0/1), over (0/1)
local function is_later(order, other) -- by the first measure that both have and that differs, as in domain/alerts.py
  local measures = string.gmatch(other, '%d+')
  for mine in string.gmatch(order, '%d+') do -- as text: a sequence may exceed 2^53
    local theirs = measures()
    if mine ~= '0' and theirs ~= '0' and mine ~= theirs then
      return #mine > #theirs or (#mine == #theirs and mine > theirs)
    end
  end
  return false
end

for i = 1, #KEYS, 3 do
  local order, accepted, over = ARGV[i + 2], ARGV[i + 3] == '1', ARGV[i + 4] == '1'
  if redis.call('GET', KEYS[i]) == ARGV[1] then redis.call('DEL', KEYS[i]) end
  local shown, sent = redis.call('GET', KEYS[i + 1]), redis.call('GET', KEYS[i + 2])
  if accepted and not (shown and is_later(shown, order)) then redis.call('SET', KEYS[i + 1], order, 'PX', ARGV[2]) end
  if over and sent and not is_later(sent, order) then redis.call('DEL', KEYS[i + 2]) end
end
return 1
