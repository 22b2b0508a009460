-- KEYS 1 prefix
-- ARGV 1 seed · 2 job id · 3 token · 4 progress (JSON)
-- Returns {"ok", status} · {"stale", status or ""}

local job, key = {}, P .. 'job:' .. ARGV[2]
local held = redis.call('HMGET', key, 'token', 'status', 'session_id', 'rev', 'queue', 'silent')
job.token, job.status, job.session_id, job.queue, job.silent = held[1] or nil, held[2], held[3], held[5], held[6] or nil
if not job.status or not is_leased(job) or job.token ~= ARGV[3] then
  return {'stale', job.status or ''}
end
local rev = int(tonumber(held[4]) + 1)
redis.call('HSET', key, 'progress', ARGV[4], 'rev', rev, 'updated_at', int(now()))
if not is_silent(job) then
  redis.call('SPUBLISH', P .. 'live:' .. job.session_id, 'P ' .. ARGV[2] .. ' ' .. rev ..
    '\n{"type":"job.progress","session_id":"' .. job.session_id .. '","job_id":"' .. ARGV[2] .. '","rev":' .. rev ..
    ',"time":"' .. iso(now()) .. '","data":{"progress":' .. ARGV[4] .. '}}')
end
return {'ok', job.status}
