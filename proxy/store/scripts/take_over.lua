-- Claim entries whose worker has not renewed its lease. Returns {id, fields, deliveries so far} for each.
-- One that was claimed twice already may be what ends its workers: it is taken alone, and only where that is asked for.
-- Of those the one that was claimed least comes first.
-- KEYS  1 stream
-- ARGV  1 group   2 consumer   3 lease, ms   4 at most so many that were claimed once
--       5 and one that was claimed more often (0/1)
local PAGE, MOST_PAGES = 500, 20
local wanted, suspect = {}, nil
local from, missing = '-', tonumber(ARGV[4])
for _ = 1, MOST_PAGES do
  local page = redis.call('XPENDING', KEYS[1], ARGV[1], 'IDLE', ARGV[3], from, '+', PAGE)
  for _, pending in ipairs(page) do
    if pending[4] < 2 then
      if missing > 0 then
        wanted[#wanted + 1] = pending
        missing = missing - 1
      end
    elseif ARGV[5] == '1' and (not suspect or pending[4] < suspect[4]) then
      suspect = pending
    end
  end
  if #page < PAGE or (missing == 0 and (ARGV[5] == '0' or (suspect and suspect[4] == 2))) then break end
  from = '(' .. page[#page][1]
end
if suspect then wanted[#wanted + 1] = suspect end

local claimed = {}
for _, pending in ipairs(wanted) do
  local entry = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], pending[1])[1]
  if entry then
    claimed[#claimed + 1] = {entry[1], entry[2], pending[4]}
  else -- deleted without an acknowledgement: nothing is left to do
    redis.call('XACK', KEYS[1], ARGV[1], pending[1])
  end
end
return claimed
