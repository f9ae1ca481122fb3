-- The pushes of some lines have ended: let the next ones go, and remember what is shown.
-- KEYS  per line: flying, shown
-- ARGV  1 instance   2 life, ms   then per line: order of the accepted alert, '' if none was
for i = 1, #KEYS, 2 do
  if redis.call('GET', KEYS[i]) == ARGV[1] then redis.call('DEL', KEYS[i]) end
  local order = ARGV[2 + (i + 1) / 2]
  if order ~= '' then redis.call('SET', KEYS[i + 1], order, 'PX', ARGV[2]) end
end
return 1
