#!lua flags=allow-oom
-- KEYS 1 prefix
-- ARGV 1 seed · 2 job id · 3 token · 4 completed | failed | cancelled
--      5 result, or error (JSON) or "" · 6 traceback (JSON string) or ""
-- Returns {"ok" | "done" | "stale", status now or ""} · {"refused", status}

local job, status = load_job(ARGV[2]), ARGV[4]
local refused = refusal(job, ARGV[3], 'finish')
if refused then
  return {refused, job.status or ''}
end
if status == 'cancelled' and job.status ~= 'cancelling' then
  return {'refused', job.status}
end
withdraw(job)
local changes = unlease(job, 'finish', {})
changes.worker = nil -- who ran it stays known
if status == 'completed' then
  changes.result = ARGV[5] ~= '' and ARGV[5] or 'null'
elseif status == 'failed' then
  changes.error = ARGV[5]
  if ARGV[6] ~= '' then
    changes.traceback = ARGV[6]
  end
end
move(job, status, changes)
return {'ok', status}
