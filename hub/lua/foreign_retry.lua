#!lua flags=allow-oom
-- KEYS 1 prefix
-- ARGV 1 seed · 2 ref · 3 token · 4 ms until its queue may hand it out again · 5 ms past that after which it is given up
--      6 error (JSON), or "" when it was only given back · 7 traceback (JSON string) or ""
-- Returns {"ok" | "done" | "stale", status now or ""} · {"unknown", ""}

local ref, action = ARGV[2], ARGV[6] ~= '' and 'retry' or 'release'
local job = known(ref)
if not job then
  return {'unknown', ''}
end
local refused = refusal(job, ARGV[3], action)
if refused then
  return {refused, job.status}
end
local changes = unlease(job, action, {})
if job.status == 'cancelling' then
  move(job, 'cancelled', changes)
  return {'ok', job.status}
end
local due, patience = now() + tonumber(ARGV[4]), tonumber(ARGV[5])
if action == 'release' then
  changes.released = int(tonumber(job.released) + 1)
  set_aside(job, 'pending', changes, due, patience)
else
  changes.error = ARGV[6]
  if ARGV[7] ~= '' then
    changes.traceback = ARGV[7]
  end
  changes.attempt = int(tonumber(job.attempt) + 1)
  changes.run_at = int(due)
  set_aside(job, 'retrying', changes, due, patience)
end
remember(ref, job.id, due - now() + patience)
return {'ok', job.status}
