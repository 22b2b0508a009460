-- Jobs of somebody else's queue, as its integrations tell of them. `foreign:<ref>` says which job a ref (the name that
-- queue has for it) stands for. While no process runs it, a job is in parked:foreign, by when it is given up (ms).

-- The job and its id; only the id when the job is gone, nothing when the ref was never heard of.
local function known(ref)
  local id = redis.call('GET', P .. 'foreign:' .. ref)
  local job = id and load_job(id)
  return job and job.id and job or nil, id or nil
end

local function remember(ref, id, patience)
  redis.call('SET', P .. 'foreign:' .. ref, id, 'PX', int(KEEP_MS + patience))
end

-- The end of a job's life, whoever says so; `trace` is a JSON string or "".
local function conclude(ref, job, fate, value, trace)
  local changes = {}
  if is_leased(job) then
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
    changes.result = value ~= '' and value or 'null'
  elseif fate == 'failed' then
    changes.error = value
    if trace ~= '' then
      changes.traceback = trace
    end
  else
    changes.told = '1'
  end
  move(job, fate, changes)
  remember(ref, job.id, 0)
end

-- The end of a ref of which nobody has told yet; beyond `most` of them, the oldest are forgotten.
local function keep_early_end(ref, ms, most, said)
  local all, own = P .. 'early', P .. 'early:' .. ref
  redis.call('HSET', own, 'fate', said[1], 'value', said[2], 'traceback', said[3])
  redis.call('PEXPIRE', own, int(ms))
  redis.call('ZADD', all, int(now()), ref)
  redis.call('PEXPIRE', all, int(ms))
  redis.call('ZREMRANGEBYSCORE', all, '-inf', int(now() - ms))
  while redis.call('ZCARD', all) > most do
    redis.call('DEL', P .. 'early:' .. redis.call('ZPOPMIN', all)[1])
  end
end

local function take_early_end(ref)
  local own = P .. 'early:' .. ref
  local said = redis.call('HMGET', own, 'fate', 'value', 'traceback')
  if redis.call('DEL', own) == 1 then
    redis.call('ZREM', P .. 'early', ref)
    return said
  end
end

-- `job` has just left a process, and is told as `status`; `due` is from when its queue may hand it out again.
local function set_aside(job, status, changes, due, patience)
  changes.parked = 'foreign'
  move(job, status, changes)
  redis.call('ZADD', P .. 'parked:foreign', int(due + patience), job.id)
end

local function fields_from(first, job)
  for i = first, #ARGV, 2 do
    job[ARGV[i]] = ARGV[i + 1]
  end
  return job
end

-- Nothing is in the way of an ending, but no more is begun than the outbox can hold.
local function outbox_is_full()
  return redis.call('XLEN', P .. 'outbox') >= OUTBOX_MAX
end
