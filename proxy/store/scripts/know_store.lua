-- Is this the store that we knew? Its id goes with all else that is in it.
-- Returns {the id, when the store came back empty (ms, '' for never), 1 for the process that is to report it, its shards
-- and how it keeps marks: '' in a store of an earlier program; '' unless it is being moved to other shards}.
-- KEYS  1 generation
-- ARGV  1 the id that we knew, '' at first   2 a new id   3 now, ms   4 and 5 shards and marks of a new store
local id, lost, shards, marks, moves = unpack(redis.call('HMGET', KEYS[1], 'id', 'lost_at', 'shards', 'marks', 'moves'))
local is_new = not id
if is_new then
  id, shards, marks = ARGV[2], ARGV[4], ARGV[5]
  redis.call('HSET', KEYS[1], 'id', id, 'made_at', ARGV[3], 'shards', shards, 'marks', marks)
end
if ARGV[1] ~= '' and ARGV[1] ~= id and not lost then -- made anew by us, or by one who had never known the former
  redis.call('HSET', KEYS[1], 'lost_at', ARGV[3])
  return {id, ARGV[3], 1, shards or '', marks or '', moves or ''}
end
return {id, lost or '', 0, shards or '', marks or '', moves or ''}
