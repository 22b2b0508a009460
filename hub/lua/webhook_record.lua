#!lua flags=allow-oom
-- KEYS 1 prefix
-- ARGV 1 seed · 2 delivery id · 3 claim · 4 done, retry or dead · 5 delay of a retry, ms · 6 why to disable or ""
--      7 HTTP status or "" · 8 error or "" · 9 duration, ms · 10 disable after, ms of failing · 11 gap, ms
-- Records what came of a try, if its claim still holds. Returns {state or "stale", why the webhook was disabled or ""}

local id, state, why = ARGV[2], ARGV[4], ARGV[6]
local key = P .. 'delivery:' .. id
local d = redis.call('HMGET', key, 'webhook', 'claims', 'state')
if not d[1] or d[2] ~= ARGV[3] or d[3] ~= 'sending' then
  return {'stale', ''}
end
local wid = d[1]
redis.call('ZREM', zset('flight', wid), id)
redis.call('HINCRBY', key, 'tries', 1)
redis.call('HSET', key, 'status', ARGV[7], 'error', ARGV[8], 'duration', ARGV[9], 'tried_at', int(now()))
if state == 'retry' then
  local due = int(now() + tonumber(ARGV[5]))
  redis.call('HSET', key, 'state', 'waiting', 'due_at', due)
  redis.call('ZADD', zset('due', wid), due, id)
else
  conclude(id, wid, state)
end

local hook = P .. 'webhook:' .. wid
local disabled = ''
local health = redis.call('HMGET', hook, 'scope', 'disabled_at', 'failing_since', 'failed_at')
if health[1] and not health[2] then
  if state == 'done' then
    redis.call('HDEL', hook, 'failing_since', 'failed_at')
  else
    local since = tonumber(health[3])
    if not since or now() - tonumber(health[4]) > tonumber(ARGV[11]) then
      since = now()
    end
    redis.call('HSET', hook, 'failing_since', int(since), 'failed_at', int(now()))
    if why == '' and now() - since >= tonumber(ARGV[10]) then
      why = 'every try since ' .. iso(since) .. ' failed'
    end
    if why ~= '' then
      disabled = why
      redis.call('HSET', hook, 'disabled_at', int(now()), 'disabled_reason', why)
      rehook(health[1])
    end
  end
end
reschedule(wid)
if disabled ~= '' and redis.call('EXISTS', zset('due', wid)) == 1 then
  redis.call('ZADD', P .. 'webhook_next', int(now()), wid)
end
return {state, disabled}
