#!lua flags=allow-oom
-- KEYS 1 prefix
-- ARGV 1 seed · 2 webhook id · 3 enable: 1, 0, or "" · 4 why it is disabled · 5… hash field, value or "" for none, …
-- Changes a webhook. Another address, or being enabled, begins its health anew. Returns HGETALL of it, or {} when there
-- is none.

local id = ARGV[2]
local key = P .. 'webhook:' .. id
local hook = redis.call('HMGET', key, 'scope', 'url', 'disabled_at')
if not hook[1] then
  return {}
end
for i = 5, #ARGV, 2 do
  if ARGV[i + 1] == '' then
    redis.call('HDEL', key, ARGV[i])
  else
    redis.call('HSET', key, ARGV[i], ARGV[i + 1])
  end
end
if ARGV[3] == '1' then
  redis.call('HDEL', key, 'disabled_at', 'disabled_reason')
end
if ARGV[3] == '1' or redis.call('HGET', key, 'url') ~= hook[2] then
  redis.call('HDEL', key, 'failing_since', 'failed_at')
end
if ARGV[3] == '0' and not hook[3] then
  disable(id, hook[1], ARGV[4])
else
  rehook(hook[1])
end
return redis.call('HGETALL', key)
