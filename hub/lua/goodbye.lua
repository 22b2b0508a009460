#!lua flags=allow-oom
-- KEYS 1 prefix
-- ARGV 1 seed · 2 worker id
-- A worker that has stopped is no longer listed. Returns 1 when it was.

redis.call('DEL', P .. 'worker:' .. ARGV[2])
return redis.call('ZREM', P .. 'workers', ARGV[2])
