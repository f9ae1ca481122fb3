-- Take an amount from an app's quota, of which users and each account have a share; see domain/quotas.py.
-- Returns {0} done, or {which of the keys has no room, after how many ms it has}; nothing is taken then.
-- A key holds: when it was written, ms; how long after that nothing may leave, ms; what was taken in the tenth of a span
-- that began then, and in each of the ten before. Eleven tenths cover a span wherever in a tenth it begins.
-- KEYS  1 the app   2 its users   3 the account; a service's call has the first alone
-- ARGV  1 now, ms   2 span, ms   3 amount   4... what each key may have in a span
local now, span, amount = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local tenth = math.max(span / 10, 1)
local slot = math.floor(now / tenth)

local function read(name)
  local taken, owed, sum = {}, 0, 0
  for age = 0, 10 do taken[age] = 0 end
  local at, debt, counts = string.match(redis.call('GET', name) or '', '^(%d+) (%d+) (.*)$')
  if at then
    at = math.min(tonumber(at), now)  -- a clock that was ahead: it begins now
    owed = math.max(tonumber(debt) - (now - at), 0)
    local age = slot - math.floor(at / tenth)
    for count in string.gmatch(counts, '%d+') do
      if age <= 10 then
        taken[age] = tonumber(count)
        sum = sum + taken[age]
      end
      age = age + 1
    end
  end
  return {taken = taken, owed = owed, sum = sum}
end

local function wait(level, most)
  local too_much = level.sum + math.min(amount, 1) - most
  if amount <= most then too_much = level.sum + amount - most end
  local ms = level.owed
  for age = 10, 0, -1 do
    if too_much <= 0 then break end
    if level.taken[age] > 0 then
      too_much = too_much - level.taken[age]
      ms = math.max(ms, math.ceil((slot - age + 11) * tenth - now))
    end
  end
  return ms
end

local levels, holder, longest = {}, 0, 0
for i, name in ipairs(KEYS) do
  levels[i] = read(name)
  local ms = wait(levels[i], tonumber(ARGV[i + 3]))
  if ms > longest then holder, longest = i, ms end
end
if holder > 0 then return {holder, longest} end
for i, level in ipairs(levels) do
  local most = tonumber(ARGV[i + 3])
  local rest, owed = math.min(amount, math.max(most - level.sum, 0)), 0
  if rest < amount then owed = math.ceil((level.sum + amount) * span / most) end
  level.taken[0] = level.taken[0] + rest
  local counts = {}
  for age = 0, 10 do counts[age + 1] = string.format('%.0f', level.taken[age]) end
  local record = string.format('%.0f %.0f %s', now, owed, table.concat(counts, ' '))
  redis.call('SET', KEYS[i], record, 'PX', string.format('%.0f', math.max(owed, 0) + 2 * span))
end
return {0}
