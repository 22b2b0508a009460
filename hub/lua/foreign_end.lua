#!lua flags=allow-oom
-- KEYS 1 prefix
-- ARGV 1 seed · 2 ref · 3 token, or "" when its queue ends it from outside of the process that runs it, or before
--      one does · 4 completed | failed | cancelled · 5 result, or error (JSON) or "" · 6 traceback (JSON string) or ""
-- Returns {"ok" | "done" | "stale", status now} · {"unknown", ""}

local ref, token, fate = ARGV[2], ARGV[3], ARGV[4]
local job = known(ref)
if not job then
  return {'unknown', ''}
end
if TERMINAL[job.status] then
  if job.status == 'cancelled' and fate == 'cancelled' then
    write(job, {told = '1'})
    return {'done', job.status}
  end
  return {job.status == fate and (token == '' or job.last_token == token) and 'done' or 'stale', job.status}
end
local leased = is_leased(job)
if token ~= '' and job.token ~= token or not leased and fate == 'completed' then
  return {'stale', job.status}
end

local changes = {}
if leased then
  if fate == 'cancelled' and job.status ~= 'cancelling' then
    move(job, 'cancelling', {})
  end
  changes = unlease(job, 'finish', changes)
  changes.worker = nil -- who ran it stays known
else
  take_out(job)
  changes.run_at = false
end
if fate == 'completed' then
  changes.result = ARGV[5] ~= '' and ARGV[5] or 'null'
elseif fate == 'failed' then
  changes.error = ARGV[5]
  if ARGV[6] ~= '' then
    changes.traceback = ARGV[6]
  end
else
  changes.told = '1'
end
move(job, fate, changes)
remember(ref, job.id, 0)
return {'ok', job.status}
