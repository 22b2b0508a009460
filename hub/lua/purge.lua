#!lua flags=allow-oom
-- KEYS 1 prefix
-- ARGV 1 seed · 2… job id, …
-- Deletes jobs that have failed. Returns how many.

local purged = 0
for i = 2, #ARGV do
  local id = ARGV[i]
  local was = redis.call('HMGET', P .. 'job:' .. id, 'status', 'session_id')
  if was[1] == 'failed' then
    redis.call('DEL', P .. 'job:' .. id, P .. 'log:' .. id, P .. 'memo:' .. id)
    redis.call('ZREM', P .. 'jobs', id)
    redis.call('ZREM', P .. 'jobs:' .. was[2], id)
    purged = purged + 1
  end
  if was[1] == 'failed' or not was[1] then
    redis.call('ZREM', P .. 'dead', id)
  end
end
return purged
