#!lua flags=allow-oom
-- KEYS 1 prefix
-- ARGV 1 seed · 2 job id
-- Returns {"ok", status now} · {"ended", status} when it had completed or failed · {"gone"}

local job = load_job(ARGV[2])
if not job.id then
  return {'gone'}
end
return {cancel(job) and 'ok' or 'ended', job.status}
