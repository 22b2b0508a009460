-- KEYS 1 prefix
-- ARGV 1 seed · 2 job id · 3 token · 4 step name · 5 result (JSON)
-- Returns {"ok", status} · {"stale", status or ""}

local held = redis.call('HMGET', P .. 'job:' .. ARGV[2], 'token', 'status')
if held[1] ~= ARGV[3] or TERMINAL[held[2]] then
  return {'stale', held[2] or ''}
end
redis.call('HSET', P .. 'memo:' .. ARGV[2], 'step:' .. ARGV[4], ARGV[5])
return {'ok', held[2]}
