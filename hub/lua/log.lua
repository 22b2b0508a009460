-- KEYS 1 prefix
-- ARGV 1 seed · 2 job id · 3 token · 4 number of the first line · 5… lines, each as JSON
-- Returns {"ok", status} · {"stale", status or ""}. Lines that are there already are passed over.

local job, key = {}, P .. 'job:' .. ARGV[2]
local held = redis.call('HMGET', key, 'token', 'status', 'session_id', 'log_lines', 'queue', 'silent', 'stall_after',
  'stalled_since', 'rev', 'progress')
job.token, job.status, job.session_id, job.queue, job.silent = held[1] or nil, held[2], held[3], held[5], held[6] or nil
if not job.status or not is_leased(job) or job.token ~= ARGV[3] then
  return {'stale', job.status or ''}
end
local have, first = tonumber(held[4]), tonumber(ARGV[4])
local stream, fresh = P .. 'log:' .. ARGV[2], {}
for i = 5, #ARGV do
  local line = first + i - 5
  if line > have then
    redis.call('XADD', stream, 'MAXLEN', '~', LOG_MAX, int(line) .. '-0', 'j', ARGV[i])
    fresh[#fresh + 1] = ARGV[i]
  end
end
if #fresh > 0 then
  still_alive(ARGV[2], job.status, held[7])
  if held[8] then
    local rev = int(tonumber(held[9]) + 1)
    redis.call('HDEL', key, 'stalled_since')
    redis.call('HSET', key, 'rev', rev, 'updated_at', int(now()))
    if not is_silent(job) then
      tell_latest(job.session_id, ARGV[2], rev, '"progress":' .. (held[10] or 'null') .. ',"stalled_since":null')
    end
  end
  local last = first + #ARGV - 5
  local from = last - #fresh + 1
  redis.call('HSET', key, 'log_lines', int(last))
  if not is_silent(job) then
    redis.call('SPUBLISH', P .. 'live:' .. job.session_id, 'G ' .. ARGV[2] .. ' ' .. int(from) .. ' ' .. int(last) ..
      '\n{"type":"job.log","line":' .. int(from) .. ',"session_id":"' .. job.session_id .. '","job_id":"' .. ARGV[2] ..
      '","time":"' .. iso(now()) .. '","data":{"lines":[' .. table.concat(fresh, ',') .. ']}}')
  end
end
return {'ok', job.status}
