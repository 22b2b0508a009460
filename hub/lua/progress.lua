-- KEYS 1 prefix
-- ARGV 1 seed · 2 job id · 3 token · 4 progress (JSON)
-- Returns {"ok", status} · {"stale", status or ""}

local job, key = {}, P .. 'job:' .. ARGV[2]
local held = redis.call('HMGET', key, 'token', 'status', 'session_id', 'rev', 'queue', 'silent', 'stall_after',
  'stalled_since')
job.token, job.status, job.session_id, job.queue, job.silent = held[1] or nil, held[2], held[3], held[5], held[6] or nil
if not job.status or not is_leased(job) or job.token ~= ARGV[3] then
  return {'stale', job.status or ''}
end
local rev = int(tonumber(held[4]) + 1)
redis.call('HSET', key, 'progress', ARGV[4], 'rev', rev, 'updated_at', int(now()))
-- Of these events a slow subscriber gets the latest only, so each clears what an earlier one may have said.
local clear = held[7] and ',"stalled_since":null' or ''
still_alive(ARGV[2], job.status, held[7])
if held[8] then
  redis.call('HDEL', key, 'stalled_since')
end
if not is_silent(job) then
  tell_latest(job.session_id, ARGV[2], rev, '"progress":' .. ARGV[4] .. clear)
end
return {'ok', job.status}
