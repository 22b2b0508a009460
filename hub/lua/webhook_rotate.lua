-- KEYS 1 prefix
-- ARGV 1 seed · 2 webhook id · 3 how long older secrets go on signing, ms · 4 most older secrets
-- Gives a webhook another secret. No older one signs for longer than ARGV[3] from now. Returns {"ok", HGETALL of it} ·
-- {"full", when there is room again (ms)} · {"none"}

local id, overlap, most = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local key = P .. 'webhook:' .. id
local hook = redis.call('HMGET', key, 'generation', 'older', 'rotation')
if not hook[1] then
  return {'none'}
end
-- The reply to this very call was lost.
if hook[3] == ARGV[1] then
  return {'ok', redis.call('HGETALL', key)}
end
local older, soonest = {}, nil
if overlap > 0 then
  local live = live_older(hook[2])
  live[#live + 1] = {hook[1], now() + overlap}
  for i, each in ipairs(live) do
    local till = math.min(each[2], now() + overlap)
    soonest = math.min(soonest or till, till)
    older[i] = each[1] .. ':' .. int(till)
  end
end
if #older > most then
  return {'full', int(soonest)}
end
redis.call('HINCRBY', key, 'generation', 1)
redis.call('HSET', key, 'rotation', ARGV[1], 'older', table.concat(older, ' '))
return {'ok', redis.call('HGETALL', key)}
