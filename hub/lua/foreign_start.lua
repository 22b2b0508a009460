-- KEYS 1 prefix
-- ARGV 1 seed · 2 ref · 3 job id for a new one · 4 token of this run · 5 lease ms · 6 attempt, or ""
--      7 worker, or "" · 8 "1" when its queue has handed it out, "" when a run whose lease was over goes on
--      9 ms for which the ref is kept beside the job · 10… hash field, value, …
-- Returns {"running", job id, status, last log line} · {"taken", job id, status} when another process runs it
--         · {"cancelled", job id, status} when it was cancelled here, and its queue does not know yet: once
--         · {"over", job id, status} when this very run has ended · {"gone", job id, ""} · {"busy", "", ""}

local ref, token, lease = ARGV[2], ARGV[4], tonumber(ARGV[5])
local job, id = known(ref)

local function begun()
  redis.call('ZADD', P .. 'running', int(now() + lease), job.id)
  remember(ref, job.id, tonumber(ARGV[9]))
  return {'running', job.id, job.status, job.log_lines}
end

if id and not job then
  return {'gone', id, ''}
elseif job and is_leased(job) and job.token == token then
  return begun()
elseif job and job.last_token == token then
  return {'over', id, job.status}
elseif job and job.status == 'cancelled' and (not job.told or job.told == token) then
  write(job, {told = token})
  return {'cancelled', id, job.status}
elseif job and not is_leased(job) and ARGV[8] ~= '1' and job.last_end ~= 'reap' then
  return {'over', id, job.status}
end

if not job or TERMINAL[job.status] then
  if outbox_is_full() then
    return {'busy', '', ''}
  end
  local was = job
  job = fields_from(10, {id = ARGV[3], ref = ref})
  job.worker = ARGV[7] ~= '' and ARGV[7] or nil
  job.retry_of = was and was.id or nil
  create(job, {lease = lease, token = token})
  take_early_end(ref) -- it is run after all
  if was then
    redis.call('HSET', P .. 'job:' .. was.id, 'retried_by', job.id)
    redis.call('ZREM', P .. 'dead', was.id)
  end
  return begun()
end

if is_leased(job) then
  if ARGV[8] ~= '1' then
    return {'taken', id, job.status}
  end
  local changes = unlease(job, 'reap', {})
  if job.status == 'cancelling' then
    changes.told = token
    move(job, 'cancelled', changes)
    return {'cancelled', id, job.status}
  end
  if tonumber(ARGV[6]) and tonumber(ARGV[6]) > tonumber(job.attempt) then
    -- The process before it has only not said yet that it gave up.
    changes.last_end = 'retry'
    changes.attempt = ARGV[6]
    move(job, 'retrying', changes)
  else
    changes.lost = int(tonumber(job.lost) + 1)
    move(job, 'pending', changes)
  end
else
  take_out(job)
end
local given = fields_from(10, {})
local changes = {claims = int(tonumber(job.claims) + 1), token = token, started_at = int(now()), run_at = false,
  error = false, traceback = false}
if not job.error then
  changes.error = nil
end
if not job.run_at then
  changes.run_at = nil
end
if ARGV[7] ~= '' then
  changes.worker = ARGV[7]
end
-- What queued it may not have known.
changes.redelivers = given.redelivers or false
if tonumber(given.max_attempts) > tonumber(job.max_attempts) then
  changes.max_attempts = given.max_attempts
end
if ARGV[6] ~= '' and tonumber(ARGV[6]) > tonumber(job.attempt) then
  changes.attempt = ARGV[6]
end
move(job, 'running', changes)
return begun()
