-- KEYS 1 prefix
-- ARGV 1 seed · 2 ref · 3 job id · 4 ms past its due time after which it is given up
--      5 ms until it is due, or "" · 6… hash field, value, …
-- Returns {"new" | "old", job id, status} · {"gone", job id, ""} · {"busy", "", ""}

local found, id = known(ARGV[2])
if found then
  return {'old', id, found.status}
elseif id then
  return {'gone', id, ''}
elseif outbox_is_full() then
  return {'busy', '', ''}
end
local job = fields_from(6, {id = ARGV[3], ref = ARGV[2], foreign = '1', parked = 'foreign'})
local due = now()
if ARGV[5] ~= '' then
  due = due + tonumber(ARGV[5])
  job.run_at = int(due)
end
create(job, {give_up = due + tonumber(ARGV[4])})
remember(ARGV[2], job.id, due - now() + tonumber(ARGV[4]))
local early = take_early_end(ARGV[2])
if early then
  conclude(ARGV[2], job, unpack(early))
end
return {'new', job.id, job.status}
