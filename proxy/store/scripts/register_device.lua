-- Make a push token the one of this account's device; a former owner loses it in the same step, and where the
-- account then has too many devices, the oldest make room. Returns 1 where the token was another account's, else 0;
-- then the ids of those that made room.
-- What a provider's answer removed of either cannot come back from now on.
-- KEYS  1 account's registrations   2 push token's owner   3 the token's removed record   4 the account's removed records
--       5 the account's preferences, which live as long
-- ARGV  1 digest of the account   2 device id   3 record   4 registered at, ms   5 TTL, s   6 prefix of accounts' keys
--       7 devices of an account at most
-- A registration is "<key of its push token's owner>\n<record>".
local function token_key(registration) return string.match(registration, '^[^\n]*') end
local function owner(key) return redis.call('HMGET', key, 'account', 'device', 'at') end
local function is_mine(of, device) return of[1] == ARGV[1] and of[2] == device end

local former = redis.call('HGET', KEYS[1], ARGV[2])
if former and token_key(former) ~= KEYS[2] and is_mine(owner(token_key(former)), ARGV[2]) then
  redis.call('DEL', token_key(former))
end
local before = owner(KEYS[2])
if before[1] and not is_mine(before, ARGV[2]) then
  redis.call('HDEL', ARGV[6] .. before[1], before[2])
end
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[2], 'account', ARGV[1], 'device', ARGV[2], 'at', ARGV[4])
redis.call('EXPIRE', KEYS[2], ARGV[5])
redis.call('HSET', KEYS[1], ARGV[2], KEYS[2] .. '\n' .. ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[5])
redis.call('EXPIRE', KEYS[5], ARGV[5])

redis.call('DEL', KEYS[3])
local kept = redis.call('HGET', KEYS[4], ARGV[2])
if kept then
  redis.call('DEL', kept)
  redis.call('HDEL', KEYS[4], ARGV[2])
end

local gone = {(before[1] and before[1] ~= ARGV[1]) and 1 or 0}
if redis.call('HLEN', KEYS[1]) <= tonumber(ARGV[7]) then return gone end
local others, all = {}, redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local device, key = all[i], token_key(all[i + 1])
  local of = owner(key)
  if not is_mine(of, device) then
    redis.call('HDEL', KEYS[1], device)  -- its token is another's or has ended: an entry of the index alone
  elseif device ~= ARGV[2] then
    table.insert(others, {device = device, key = key, at = tonumber(of[3] or 0)})
  end
end
table.sort(others, function(a, b) return a.at < b.at or (a.at == b.at and a.device < b.device) end)
for i = 1, #others + 1 - tonumber(ARGV[7]) do
  redis.call('HDEL', KEYS[1], others[i].device)
  redis.call('DEL', others[i].key)
  table.insert(gone, others[i].device)
end
return gone
