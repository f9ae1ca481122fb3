-- A mark lies in a bucket, a hash that it shares with others (marks.py), or in a key of its own, as an earlier program has
-- it. A field has what it is called in the latter, 20 bytes, and then of each message what it is called in a bucket, 8.
local function is_bucket(key) return string.find(key, ':marks:', 1, true) ~= nil end
local function name_in(key, field, message)
  if not is_bucket(key) then return string.sub(field, 1, 20) end
  local last = 20 + 8 * (message or 1)
  return string.sub(field, last - 7, last)
end

-- Those of KEYS from first to last that are there: most have no mark of the generations before and after.
local function existing(first, last)
  local found = {}
  for k = first, last do
    if redis.call('EXISTS', KEYS[k]) == 1 then found[#found + 1] = KEYS[k] end
  end
  return found
end

-- A mark is kept for at least ttl from now on, ms.
local function keep(key, ttl)
  if not is_bucket(key) then
    redis.call('PEXPIRE', key, ttl)
  elseif redis.call('PTTL', key) < tonumber(ttl) then
    redis.call('PEXPIRE', key, 2 * ttl)
  end
end

-- The record of a withdrawal lies beside its mark's bucket: so long a value would turn all of that into a hash table.
local function set_withdrawal(key, name, record)
  if not is_bucket(key) then return redis.call('HSET', key, name, 'w' .. record) end
  redis.call('HSET', key .. ':late', name, record)
  redis.call('PEXPIRE', key .. ':late', math.max(redis.call('PTTL', key), 1))
  redis.call('HSET', key, name, 'w')
end
local function withdrawal_of(key, name, value)
  if is_bucket(key) then return redis.call('HGET', key .. ':late', name) end
  return string.sub(value, 2)
end
