#!lua flags=allow-oom
-- KEYS 1 prefix
-- ARGV 1 seed · 2 most deliveries · 3 lease of a try, ms
-- Claims due deliveries, at most 4 in flight per webhook. A claim whose reply is lost comes back when its lease is
-- over, and so does that of a hub that died. Returns {ms until something can be claimed again or -1, then for each
-- {id, claim, tries, webhook, url, generation, credential, type, time, data, older generations that sign, "1" for a
-- test}}; a one-off's url is a JSON string.

local most, lease = tonumber(ARGV[2]), tonumber(ARGV[3])
local CHUNK = 500
local out = {-1}

local function claim(id, wid, hook)
  local key = P .. 'delivery:' .. id
  local d = redis.call('HMGET', key, 'tries', 'url', 'credential', 'type', 'time', 'd', 'test')
  if not d[1] then
    return
  end
  local number = redis.call('HINCRBY', key, 'claims', 1)
  redis.call('HSET', key, 'state', 'sending')
  redis.call('ZADD', zset('flight', wid), int(now() + lease), id)
  local older = {}
  for i, each in ipairs(live_older(hook[5])) do
    older[i] = each[1]
  end
  out[#out + 1] = {id, number, d[1], wid, d[2] or hook[1], hook[2] or '', d[3] or '', d[4], iso(tonumber(d[5])), d[6],
    older, d[7] or ''}
end

for _, wid in ipairs(redis.call('ZRANGEBYSCORE', P .. 'webhook_next', '-inf', int(now()), 'LIMIT', 0, most)) do
  if #out > most then
    break
  end
  local due, flight = zset('due', wid), zset('flight', wid)
  local hook = {}
  if not is_once(wid) then
    hook = redis.call('HMGET', P .. 'webhook:' .. wid, 'url', 'generation', 'disabled_at', 'disabled_reason',
      'older')
  end
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', flight, '-inf', int(now()))) do
    redis.call('ZREM', flight, id)
    redis.call('ZADD', due, int(now()), id)
    redis.call('HSET', P .. 'delivery:' .. id, 'state', 'waiting')
  end
  local dropping = hook[3] or not (hook[1] or is_once(wid))
  if dropping then
    for _, id in ipairs(redis.call('ZRANGE', due, 0, CHUNK - 1)) do
      redis.call('ZREM', due, id)
      if hook[3] then
        redis.call('HSET', P .. 'delivery:' .. id, 'why', 'the webhook is disabled: ' .. hook[4])
        conclude(id, wid, 'dead')
      else
        forget_delivery(id, wid, 'due')
      end
    end
  else
    local room = math.min(MOST_IN_FLIGHT - redis.call('ZCARD', flight), most + 1 - #out)
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', int(now()), 'LIMIT', 0, room)) do
      redis.call('ZREM', due, id)
      claim(id, wid, hook)
    end
  end
  reschedule(wid)
  if dropping and redis.call('EXISTS', due) == 1 then
    redis.call('ZADD', P .. 'webhook_next', int(now()), wid)
  end
end

local next_at = first_score(P .. 'webhook_next')
if next_at then
  out[1] = math.max(0, next_at - now())
end
return out
