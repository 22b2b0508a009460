#!lua flags=allow-oom
-- KEYS 1 prefix
-- ARGV 1 seed · 2 delivery id · 3 claim · 4 done, retry or dead · 5 delay of a retry, ms · 6 why to disable or ""
--      7 what came of the try, members of a JSON object · 8 disable after, ms of failing · 9 gap, ms
-- Records what came of a try, if its claim still holds. Returns {state or "stale", why the webhook was disabled or ""}

local id, state, why = ARGV[2], ARGV[4], ARGV[6]
local key = P .. 'delivery:' .. id
local d = redis.call('HMGET', key, 'webhook', 'claims', 'state', 'test')
if not d[1] or d[2] ~= ARGV[3] or d[3] ~= 'sending' then
  return {'stale', ''}
end
local wid = d[1]
redis.call('ZREM', zset('flight', wid), id)
redis.call('HINCRBY', key, 'tries', 1)
local tried = redis.call('HINCRBY', key, 'tried', 1)
redis.call('HSET', key, 'try:' .. tried, '{"at":"' .. iso(now()) .. '",' .. ARGV[7] .. '}')
redis.call('HDEL', key, 'try:' .. (tried - MOST_TRIES))
if state == 'retry' then
  local due = int(now() + tonumber(ARGV[5]))
  redis.call('HSET', key, 'state', 'waiting', 'due_at', due)
  redis.call('ZADD', zset('due', wid), due, id)
else
  conclude(id, wid, state)
end

reschedule(wid)

-- A test says nothing of how a webhook fares.
local hook = P .. 'webhook:' .. wid
local health = redis.call('HMGET', hook, 'scope', 'disabled_at', 'failing_since', 'failed_at')
if not health[1] or health[2] or d[4] then
  return {state, ''}
end
if state == 'done' then
  redis.call('HDEL', hook, 'failing_since', 'failed_at')
  return {state, ''}
end
local since = tonumber(health[3])
if not since or now() - tonumber(health[4]) > tonumber(ARGV[9]) then
  since = now()
end
redis.call('HSET', hook, 'failing_since', int(since), 'failed_at', int(now()))
if why == '' and now() - since >= tonumber(ARGV[8]) then
  why = 'every try since ' .. iso(since) .. ' failed'
end
if why ~= '' then
  disable(wid, health[1], why)
end
return {state, why}
