-- KEYS 1 prefix
-- ARGV 1 seed · 2 webhook id · 3 from, ms, or (ms · 4 to, ms · 5 most to look at
-- Sends again what is dead of the events of a time, oldest first, tests aside; and at once what failed and waits for its
-- next try. Returns {how many, where to go on from or "", 1 where as many wait as may} · {-1, why} where the webhook is
-- disabled

local wid, most = ARGV[2], tonumber(ARGV[5])
local disabled = redis.call('HMGET', P .. 'webhook:' .. wid, 'disabled_at', 'disabled_reason')
if disabled[1] then
  return {-1, disabled[2]}
end
local room = MOST_WAITING - redis.call('ZCARD', zset('due', wid))
local found = redis.call('ZRANGEBYSCORE', zset('all', wid), ARGV[3], ARGV[4], 'WITHSCORES', 'LIMIT', 0, most)
local count, sent, full = 0, 0, 0
for i = 1, #found, 2 do
  local d = redis.call('HMGET', P .. 'delivery:' .. found[i], 'state', 'test', 'tries', 'due_at')
  if d[1] == 'dead' and not d[2] then
    if sent >= room then
      full = 1
      break
    end
    replay(found[i], wid, 'dead')
    sent = sent + 1
    count = count + 1
  elseif d[1] == 'waiting' and d[3] ~= '0' and tonumber(d[4]) > now() then
    hasten(found[i], wid)
    count = count + 1
  end
end
if count > 0 then
  wake_hub()
end
local next = found[#found]
if full == 1 or #found < 2 * most then
  next = ''
elseif next == found[2] then
  next = '(' .. next
end
return {count, next, full}
