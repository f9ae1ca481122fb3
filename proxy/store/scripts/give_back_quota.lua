-- One message that take_quota.lua took does not leave after all. Where another tenth of a span has begun since, it stays
-- taken: so never more leaves than the quota.
-- KEYS  those of take_quota.lua
-- ARGV  1 when it was taken, ms   2 span, ms
local tenth = math.max(tonumber(ARGV[2]) / 10, 1)
for _, name in ipairs(KEYS) do
  local at, debt, count, rest = string.match(redis.call('GET', name) or '', '^(%d+) (%d+) (%d+)(.*)$')
  if at and tonumber(count) > 0 and math.floor(tonumber(at) / tenth) == math.floor(tonumber(ARGV[1]) / tenth) then
    redis.call('SET', name, string.format('%s %s %.0f%s', at, debt, tonumber(count) - 1, rest), 'KEEPTTL')
  end
end
