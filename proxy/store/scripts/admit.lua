-- May this caller go on? Counts the call over a sliding window, as domain/limits.py does, where it may.
-- Returns {1 yes, 0 too often; start of the window, calls in it, calls in the span before}.
-- KEYS  1 the counter
-- ARGV  1 now, ms   2 span, ms   3 calls in it   4 calls that were let pass and not yet counted
local now, span, most, passed = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local may, start, count, before = 1, now, 0, 0
local known = redis.call('GET', KEYS[1])
if known then
  start, count, before = string.match(known, '^(%d+) (%d+) (%d+)$')
  start, count, before = math.min(tonumber(start), now), tonumber(count), tonumber(before)
  if now >= start + 2 * span then
    start, count, before = now, 0, 0
  elseif now >= start + span then
    start, count, before = start + span, 0, count
  end
end
count = count + passed
local left = span - (now - start)
if math.floor(before * left / span + count) >= most then may = 0 end
if may + passed > 0 then
  count = count + may
  redis.call('SET', KEYS[1], string.format('%.0f %.0f %.0f', start, count, before), 'PX', left + span)
end
return {may, start, count, before}
