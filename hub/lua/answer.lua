-- KEYS 1 prefix
-- ARGV 1 seed · 2 job id · 3 input id · 4 value (JSON)
-- Returns {"ok" | "done", status now} · {"other", id of the open question or ""} · {"answered", value}
--         · {"gone"}

local job, input_id, value = load_job(ARGV[2]), ARGV[3], ARGV[4]
if not job.id then
  return {'gone'}
end
local memo = P .. 'memo:' .. job.id
local before = redis.call('HGET', memo, 'answer:' .. input_id)
if before then
  return before == value and {'done', job.status} or {'answered', before}
end
if job.status ~= 'input_required' or job.input_id ~= input_id then
  return {'other', job.input_id or ''}
end
redis.call('HSET', memo, 'answer:' .. input_id, value)
local changes = {input = false, input_id = false}
if is_leased(job) then
  move(job, 'running', changes)
  redis.call('SPUBLISH', P .. 'control', 'answer ' .. job.id)
elseif string.find(job.input, '"kind":"confirm"', 1, true) and value ~= '"yes"' then
  take_out(job)
  move(job, 'cancelled', changes)
else
  take_out(job)
  if job.expires_at then
    -- It may have been passed over while it waited.
    redis.call('ZADD', P .. 'expiring', job.expires_at, job.id)
  end
  local due = job.due and tonumber(job.due)
  changes.due = false
  if due and due > now() then
    changes.run_at = int(due)
    move(job, 'pending', changes)
    redis.call('ZADD', P .. 'delayed', job.run_at, job.id)
  else
    move(job, 'pending', changes)
    make_ready(job)
  end
end
return {'ok', job.status}
