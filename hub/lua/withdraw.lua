#!lua flags=allow-oom
-- KEYS 1 prefix
-- ARGV 1 seed · 2 job id · 3 token
-- The worker no longer wants an answer. Returns {"ok" | "stale", status now or ""}

local job = load_job(ARGV[2])
local refused = refusal(job, ARGV[3], 'withdraw')
if refused then
  return {refused, job.status or ''}
end
withdraw(job)
return {'ok', job.status}
