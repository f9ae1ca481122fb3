-- From a moment on this store keeps marks in buckets, and records as bytes. Returns how, as the first who asked said.
-- KEYS  1 generation
-- ARGV  1 marks, see marks.py
local marks = redis.call('HGET', KEYS[1], 'marks')
if marks and marks ~= '' then return {marks, 0} end
redis.call('HSET', KEYS[1], 'marks', ARGV[1])
return {ARGV[1], 1}
