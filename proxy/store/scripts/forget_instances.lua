-- Remove consumers that hold nothing and have not asked for anything for long. Returns how many.
-- Each start of a worker is a new consumer; one that is alive is made again by its next read.
-- KEYS  1 stream
-- ARGV  1 group   2 idle, ms
local gone = 0
for _, facts in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local consumer = {}
  for i = 1, #facts, 2 do consumer[facts[i]] = facts[i + 1] end
  if consumer['pending'] == 0 and consumer['idle'] > tonumber(ARGV[2]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], consumer['name'])
    gone = gone + 1
  end
end
return gone
