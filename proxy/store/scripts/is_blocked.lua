-- May neither this account nor this session do anything any more? One command: a pipeline of two costs twice as much.
-- Returns 0 when neither is blocked.
-- KEYS  1 blocked accounts   2 the session's mark
-- ARGV  1 the account's mark
return redis.call('SISMEMBER', KEYS[1], ARGV[1]) + redis.call('EXISTS', KEYS[2])
