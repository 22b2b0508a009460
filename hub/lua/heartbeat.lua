#!lua flags=allow-oom
-- KEYS 1 prefix
-- ARGV 1 seed · 2 worker id · 3 lease ms · 4 worker's facts as JSON, or "" · 5 its tasks ",a,b,"
--      6 its queues ",default,agent," · 7… job id, token, …
-- Returns for each job "running" | "input_required" | "cancelling" (the lease was extended), or
--         "lost" (stop; write nothing more)

local lease = tonumber(ARGV[3])
if ARGV[2] ~= '' then
  local key = P .. 'worker:' .. ARGV[2]
  redis.call('ZADD', P .. 'workers', now(), ARGV[2])
  if ARGV[4] ~= '' then
    redis.call('HSET', key, 'facts', ARGV[4], 'tasks', ARGV[5], 'queues', ARGV[6])
  end
  redis.call('HSET', key, 'seen_at', int(now()), 'holds', (#ARGV - 6) / 2)
  redis.call('PEXPIRE', key, 4 * lease)
end
local out = {}
for i = 7, #ARGV, 2 do
  local held = redis.call('HMGET', P .. 'job:' .. ARGV[i], 'token', 'status')
  if held[1] == ARGV[i + 1] and not TERMINAL[held[2]] then
    redis.call('ZADD', P .. 'running', int(now() + lease), ARGV[i])
    out[#out + 1] = held[2]
  else
    out[#out + 1] = 'lost'
  end
end
return out
