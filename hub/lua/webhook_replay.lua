-- KEYS 1 prefix
-- ARGV 1 seed · 2 delivery id
-- Sends a delivery that ended once more, with the whole schedule before it, and one that waits now. Returns {"ok"} ·
-- {"none"} · {"sending"} · {"bodiless"} · {"disabled", why} · {"full"}

local key = P .. 'delivery:' .. ARGV[2]
local d = redis.call('HMGET', key, 'webhook', 'state', 'replay')
if not d[1] then
  return {'none'}
end
-- The reply to this very call was lost.
if d[3] == ARGV[1] then
  return {'ok'}
end
local hook = redis.call('HMGET', P .. 'webhook:' .. d[1], 'scope', 'disabled_at', 'disabled_reason')
if d[2] == 'sending' then
  return {'sending'}
elseif redis.call('HEXISTS', key, 'd') == 0 then
  return {'bodiless'}
elseif not hook[1] and not is_once(d[1]) then
  return {'none'}
elseif hook[2] then
  return {'disabled', hook[3]}
elseif d[2] == 'waiting' then
  hasten(ARGV[2], d[1])
elseif redis.call('ZCARD', zset('due', d[1])) >= MOST_WAITING then
  return {'full'}
else
  replay(ARGV[2], d[1], d[2])
end
wake_hub()
return {'ok'}
