-- May this caller go on? Counts the call over a sliding window, as domain/limits.py does, where it may. A proved user's
-- account is in use: a provider that did not know it is asked again.
-- Returns {1 yes, 0 too often, -1 blocked or signed out; start of the window, calls in it, calls in the span before}.
-- KEYS  1 the counter; for a proved user also   2 blocked accounts   3 the session's mark   4... "unknown account" marks
-- ARGV  1 now, ms   2 span, ms   3 calls in it, 0: any number   4 calls that were let pass and not yet counted
--       5 the account's mark
if KEYS[2] and redis.call('SISMEMBER', KEYS[2], ARGV[5]) + redis.call('EXISTS', KEYS[3]) > 0 then return {-1} end
local now, span, most, passed = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local may, start, count, before = 1, now, 0, 0
if most > 0 then
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
end
if may == 1 and KEYS[4] then redis.call('DEL', unpack(KEYS, 4)) end
return {may, start, count, before}
