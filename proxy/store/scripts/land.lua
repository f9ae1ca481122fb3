-- The pushes of some lines have ended: let the next ones go, and remember what is shown.
-- KEYS  per line: flying, shown
-- ARGV  1 instance   2 life, ms   then per line: order of the accepted alert, '' if none was
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

for i = 1, #KEYS, 2 do
  if redis.call('GET', KEYS[i]) == ARGV[1] then redis.call('DEL', KEYS[i]) end
  local order = ARGV[2 + (i + 1) / 2]
  local shown = redis.call('GET', KEYS[i + 1])
  if order ~= '' and not (shown and is_later(shown, order)) then redis.call('SET', KEYS[i + 1], order, 'PX', ARGV[2]) end
end
return 1
