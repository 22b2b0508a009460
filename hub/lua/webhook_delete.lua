#!lua flags=allow-oom
-- KEYS 1 prefix
-- ARGV 1 seed · 2 webhook id
-- Forgets a webhook; what waits for it is dropped by the next claim. Returns 1, or 0 when there was none.

local id = ARGV[2]
local scope = redis.call('HGET', P .. 'webhook:' .. id, 'scope')
if not scope then
  return 0
end
redis.call('DEL', P .. 'webhook:' .. id, zset('done', id), zset('dead', id), zset('all', id))
redis.call('ZREM', P .. 'webhooks', id)
redis.call('ZREM', P .. 'webhooks:' .. scope, id)
rehook(scope)
if redis.call('EXISTS', zset('due', id), zset('flight', id)) > 0 then
  redis.call('ZADD', P .. 'webhook_next', int(now()), id)
end
return 1
