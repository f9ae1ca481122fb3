-- Make push tokens those of this account's device: the first, and its fallbacks. A former owner of one of them loses its
-- device in the same step, and where the account then has too many devices, the oldest make room. Returns 1 where a
-- token was another account's, else 0; then the ids of those that made room.
-- What a provider's answer removed of either cannot come back from now on.
-- KEYS  1 account's registrations   2 push token's owner   3 the token's removed record   4 the account's removed records
--       5 the account's preferences, which live as long   then of each fallback what 2 and 3 are
-- ARGV  1 digest of the account   2 device id   3 record   4 registered at, ms   5 TTL, s   6 prefix of accounts' keys
--       7 devices of an account at most
-- A registration is "<key of its first push token's owner>\n<record>". That owner has the keys of the fallbacks' owners
-- as "others", a line each.
local function token_key(registration) return string.match(registration, '^[^\n]*') end
local function owner(key) return redis.call('HMGET', key, 'account', 'device', 'at', 'others') end
local function is_of(of, account, device) return of[1] == account and of[2] == device end
local function token_keys(registration)
  local first = token_key(registration)
  local keys = {first}
  for key in string.gmatch(owner(first)[4] or '', '[^\n]+') do keys[#keys + 1] = key end
  return keys
end
local function end_registration(of_account, account, device, registration)
  for _, key in ipairs(token_keys(registration)) do
    if is_of(owner(key), account, device) then redis.call('DEL', key) end
  end
  redis.call('HDEL', of_account, device)
end

local former = redis.call('HGET', KEYS[1], ARGV[2])
if former then end_registration(KEYS[1], ARGV[1], ARGV[2], former) end
local moved, others = 0, {}
local function take(key, removed_record)
  local before = owner(key)
  local theirs = before[1] and redis.call('HGET', ARGV[6] .. before[1], before[2])
  for _, one in ipairs(theirs and token_keys(theirs) or {}) do
    if one == key then end_registration(ARGV[6] .. before[1], before[1], before[2], theirs) end
  end
  if before[1] and before[1] ~= ARGV[1] then moved = 1 end
  redis.call('DEL', key, removed_record)
  redis.call('HSET', key, 'account', ARGV[1], 'device', ARGV[2], 'at', ARGV[4])
  redis.call('EXPIRE', key, ARGV[5])
end
take(KEYS[2], KEYS[3])
for i = 6, #KEYS, 2 do
  take(KEYS[i], KEYS[i + 1])
  others[#others + 1] = KEYS[i]
end
if #others > 0 then redis.call('HSET', KEYS[2], 'others', table.concat(others, '\n')) end
redis.call('HSET', KEYS[1], ARGV[2], KEYS[2] .. '\n' .. ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[5])
redis.call('EXPIRE', KEYS[5], ARGV[5])

local kept = redis.call('HGET', KEYS[4], ARGV[2])
if kept then
  redis.call('DEL', kept)
  redis.call('HDEL', KEYS[4], ARGV[2])
end

local gone = {moved}
if redis.call('HLEN', KEYS[1]) <= tonumber(ARGV[7]) then return gone end
local devices, all = {}, redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local device, registration = all[i], all[i + 1]
  local of = owner(token_key(registration))
  if not is_of(of, ARGV[1], device) then
    redis.call('HDEL', KEYS[1], device)  -- its token is another's or has ended: an entry of the index alone
  elseif device ~= ARGV[2] then
    table.insert(devices, {device = device, registration = registration, at = tonumber(of[3] or 0)})
  end
end
table.sort(devices, function(a, b) return a.at < b.at or (a.at == b.at and a.device < b.device) end)
for i = 1, #devices + 1 - tonumber(ARGV[7]) do
  end_registration(KEYS[1], ARGV[1], devices[i].device, devices[i].registration)
  table.insert(gone, devices[i].device)
end
return gone
