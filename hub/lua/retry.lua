#!lua flags=allow-oom
-- KEYS 1 prefix
-- ARGV 1 seed · 2 job id · 3 token · 4 delay ms · 5 error (JSON) · 6 traceback (JSON string) or ""
-- Returns {"ok" | "done" | "stale", status now or ""}

local job = load_job(ARGV[2])
local refused = refusal(job, ARGV[3], 'retry')
if refused then
  return {refused, job.status or ''}
end
withdraw(job)
local changes = unlease(job, 'retry', {})
if job.status == 'cancelling' then
  move(job, 'cancelled', changes)
  return {'ok', 'cancelled'}
end
changes.error = ARGV[5]
if ARGV[6] ~= '' then
  changes.traceback = ARGV[6]
end
if tonumber(job.attempt) >= tonumber(job.max_attempts) then
  changes.worker = nil
  move(job, 'failed', changes)
  return {'ok', 'failed'}
end
changes.attempt = int(tonumber(job.attempt) + 1)
changes.run_at = int(now() + tonumber(ARGV[4]))
move(job, 'retrying', changes)
redis.call('ZADD', P .. 'delayed', job.run_at, job.id)
return {'ok', 'retrying'}
