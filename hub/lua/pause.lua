-- KEYS 1 prefix
-- ARGV 1 seed · 2 queue · 3 "pause" | "resume"
-- Returns 1 when that changed something.

if ARGV[3] == 'pause' then
  redis.call('SADD', P .. 'queues', ARGV[2])
  return redis.call('SADD', P .. 'paused', ARGV[2])
end
redis.call('ZADD', P .. 'wake:' .. ARGV[2], 0, '1')
return redis.call('SREM', P .. 'paused', ARGV[2])
