-- KEYS 1 prefix
-- ARGV 1 seed · 2 webhook id · 3 scope · 4 most of the scope · 5 most in all · 6… hash field, value, …
-- Registers a webhook. Returns {"new" | "old", HGETALL of it} · {"full", how many there are}

local id, scope = ARGV[2], ARGV[3]
local key = P .. 'webhook:' .. id
if redis.call('EXISTS', key) == 1 then
  return {'old', redis.call('HGETALL', key)}
end
local of_scope, all = redis.call('ZCARD', P .. 'webhooks:' .. scope), redis.call('ZCARD', P .. 'webhooks')
if of_scope >= tonumber(ARGV[4]) then
  return {'full', of_scope}
elseif all >= tonumber(ARGV[5]) then
  return {'full', all}
end
redis.call('HSET', key, 'id', id, 'scope', scope, 'created_at', int(now()), 'generation', '1', unpack(ARGV, 6))
redis.call('ZADD', P .. 'webhooks', int(now()), id)
redis.call('ZADD', P .. 'webhooks:' .. scope, int(now()), id)
rehook(scope)
return {'new', redis.call('HGETALL', key)}
