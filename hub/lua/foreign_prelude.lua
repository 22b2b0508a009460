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
