#!lua flags=allow-oom
-- KEYS 1 prefix
-- ARGV 1 seed · 2 job id · 3 token
-- Returns {"ok" | "done" | "stale", status now or ""}

local job = load_job(ARGV[2])
local refused = refusal(job, ARGV[3], 'release')
if refused then
  return {refused, job.status or ''}
end
local changes = unlease(job, 'release', {})
if job.status == 'cancelling' then
  move(job, 'cancelled', changes)
elseif job.status == 'input_required' then
  -- Nothing that a subscriber sees has changed but that no worker holds it any more.
  write(job, changes)
  redis.call('ZADD', P .. 'waiting', now(), job.id)
else
  changes.released = int(tonumber(job.released) + 1)
  move(job, 'pending', changes)
  make_ready(job, true)
end
return {'ok', job.status}
