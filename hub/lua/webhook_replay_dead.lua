-- KEYS 1 prefix
-- ARGV 1 seed · 2 webhook id · 3 from, ms, or (ms · 4 to, ms · 5 most to look at
-- Sends again what is dead of the events of a time, oldest first, tests aside. Returns {how many, where to go on from or
-- ""} · {-1, why} where the webhook is disabled · {-2, ""} where it is full; what was done till then is done

local wid, most = ARGV[2], tonumber(ARGV[5])
local disabled = redis.call('HMGET', P .. 'webhook:' .. wid, 'disabled_at', 'disabled_reason')
if disabled[1] then
  return {-1, disabled[2]}
end
local room = MOST_WAITING - redis.call('ZCARD', zset('due', wid))
local found = redis.call('ZRANGEBYSCORE', zset('all', wid), ARGV[3], ARGV[4], 'WITHSCORES', 'LIMIT', 0, most)
local count, at = 0, ''
for i = 1, #found, 2 do
  local d = redis.call('HMGET', P .. 'delivery:' .. found[i], 'state', 'test')
  if d[1] == 'dead' and not d[2] then
    if count == room then
      return count > 0 and {count, at == '' and ARGV[3] or at} or {-2, ''}
    end
    replay(found[i], wid, 'dead')
    count = count + 1
  end
  at = found[i + 1]
end
if #found < 2 * most then
  at = ''
elseif at == found[2] then
  at = '(' .. at
end
return {count, at}
