-- KEYS 1 prefix
-- ARGV 1 seed · 2 delivery id · 3 webhook id · 4 type · 5 data, JSON
-- Makes a delivery that is tried once. Returns {"ok"} · {"none"} · {"disabled", why} · {"full"}

local id, wid = ARGV[2], ARGV[3]
local key = P .. 'delivery:' .. id
if redis.call('EXISTS', key) == 1 then
  return {'ok'}
end
local hook = redis.call('HMGET', P .. 'webhook:' .. wid, 'scope', 'disabled_at', 'disabled_reason')
if not hook[1] then
  return {'none'}
elseif hook[2] then
  return {'disabled', hook[3]}
elseif redis.call('ZCARD', zset('due', wid)) >= MOST_WAITING then
  return {'full'}
end
redis.call('HSET', key, 'id', id, 'webhook', wid, 'session', hook[1] == '*' and '' or hook[1], 'job', '', 'type', ARGV[4],
  'time', int(now()), 'd', ARGV[5], 'tries', '0', 'claims', '0', 'state', 'waiting', 'due_at', int(now()), 'test', '1')
redis.call('ZADD', zset('all', wid), int(now()), id)
add_due(id, wid)
wake_hub()
return {'ok'}
