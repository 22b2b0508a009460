#!lua flags=allow-oom
-- KEYS 1 prefix
-- ARGV 1 seed · 2 ref · 3 token, or "" when its queue ends it from outside of the process that runs it, or before
--      one does · 4 completed | failed | cancelled · 5 result, or error (JSON) or "" · 6 traceback (JSON string) or ""
--      7 ms for which the end of a job that nobody has told of yet is kept for whoever queued it · 8 how many of them
-- Returns {"ok" | "done" | "stale", status now} · {"unknown", ""}

local ref, token, fate = ARGV[2], ARGV[3], ARGV[4]
local job, id = known(ref)
if not job then
  if not id and token == '' then
    keep_early_end(ref, tonumber(ARGV[7]), tonumber(ARGV[8]), {fate, ARGV[5], ARGV[6]})
  end
  return {'unknown', ''}
end
if TERMINAL[job.status] then
  if job.status == 'cancelled' and fate == 'cancelled' then
    write(job, {told = '1'})
    return {'done', job.status}
  end
  return {job.status == fate and (token == '' or job.last_token == token) and 'done' or 'stale', job.status}
end
if token ~= '' and job.token ~= token or not is_leased(job) and fate == 'completed' then
  return {'stale', job.status}
end
conclude(ref, job, fate, ARGV[5], ARGV[6])
return {'ok', job.status}
