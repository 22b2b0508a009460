-- Where a job that no worker holds is, and how many of a kind may run at once. After prelude.lua.

-- Fair between sessions by start-time fair queueing (Goyal, Vin, Cheng 1996): a job's start tag
-- is one past the later of its queue's virtual time and its session's last tag.
local function make_ready(job, front)
  local tag = 0
  if not front then
    local tags = P .. 'tags:' .. job.queue .. ':' .. job.priority
    local virtual = tonumber(redis.call('HGET', P .. 'vtime:' .. job.queue, job.priority) or '0')
    local last = tonumber(redis.call('ZSCORE', tags, job.session_id) or '0')
    tag = math.max(virtual, last) + 1
    redis.call('ZADD', tags, tag, job.session_id)
  end
  redis.call('ZADD', P .. 'ready:' .. job.queue, int(tonumber(job.priority) * PRIORITY_STEP + tag), job.id)
  redis.call('ZADD', P .. 'wake:' .. job.queue, 0, '1')
end

-- What keeps a job from starting, or false: told like its progress, for the latest is enough.
local function set_parked(job, reason)
  write(job, {parked = reason, rev = int(tonumber(job.rev) + 1)})
  if not is_silent(job) then
    tell_latest(job.session_id, job.id, job.rev, member('progress', job.progress) .. ',' .. member('parked', job.parked))
  end
end

-- ---------------------------------------------------------------- limits

-- A job's `limits` are "<name> <most> <name> <most> …". `holders:<name>` is the set of the leased jobs that count,
-- so that no crash can leave a count behind. A job that may not start yet is parked under the first limit that
-- is reached, with its place in the queue for a score, in a list for each queue and for each tree: below a
-- holder there is room for one more, lest a job wait for a child that waits for it. `blocked:<name>` has the
-- lists of a limit and how many holders it must have fewer than.
local function each_limit(job)
  return string.gmatch(job.limits or '', '(%S+) (%d+)')
end

local function ancestors(job)
  local found, parent = {}, job.parent_id
  while parent and #found < 32 do
    found[#found + 1] = parent
    parent = redis.call('HGET', P .. 'job:' .. parent, 'parent_id')
  end
  return found
end

-- The limit that keeps a job from starting: its name, its list and that list's bound; nil when none does.
local function obstacle(job)
  local above
  for name, most in each_limit(job) do
    local holders, bound = P .. 'holders:' .. name, tonumber(most)
    local held = redis.call('SCARD', holders)
    if held >= bound then
      local list = name .. '|' .. job.queue
      above = above or ancestors(job)
      for _, id in ipairs(above) do
        if redis.call('SISMEMBER', holders, id) == 1 then
          list = bound == tonumber(most) and list .. '|' .. id or list
          bound = bound + 1
        end
      end
      if held >= bound then
        return name, list, bound
      end
    end
  end
end

local function forget_list(name, list)
  local reason = 'limit:' .. list
  if redis.call('EXISTS', P .. 'parked:' .. reason) == 0 then
    redis.call('HDEL', P .. 'blocked:' .. name, list)
    redis.call('SREM', P .. 'parked', reason)
  end
end

-- Lets as many jobs as there is room for back into their queues, where a claim looks at them again.
local function admit(name)
  local lists = redis.call('HGETALL', P .. 'blocked:' .. name)
  local held = #lists > 0 and redis.call('SCARD', P .. 'holders:' .. name)
  for i = 1, #lists, 2 do
    local room = tonumber(lists[i + 1]) - held
    if room > 0 then
      local found = redis.call('ZPOPMIN', P .. 'parked:limit:' .. lists[i], room)
      for at = 1, #found, 2 do
        local job = load_job(found[at])
        if job.id then
          set_parked(job, false)
          redis.call('ZADD', P .. 'ready:' .. job.queue, found[at + 1], job.id)
          redis.call('ZADD', P .. 'wake:' .. job.queue, 0, '1')
        end
      end
      forget_list(name, lists[i])
    end
  end
end

-- A job that was let in has gone without starting: what it was let in for is another's.
local function pass_on(job)
  for name in each_limit(job) do
    admit(name)
  end
end

local function park_behind(job, name, list, bound, score)
  local reason = 'limit:' .. list
  set_parked(job, reason)
  redis.call('ZADD', P .. 'parked:' .. reason, score, job.id)
  redis.call('SADD', P .. 'parked', reason)
  redis.call('HSET', P .. 'blocked:' .. name, list, bound)
  for other in each_limit(job) do
    if other ~= name then
      admit(other)
    end
  end
end

local function take_limits(job)
  for name in each_limit(job) do
    redis.call('SADD', P .. 'holders:' .. name, job.id)
  end
end

local function give_limits(job)
  for name in each_limit(job) do
    redis.call('SREM', P .. 'holders:' .. name, job.id)
    admit(name)
  end
end

-- Takes a job that no worker holds out of the place that it waits in. Its move clears `parked`, or its caller does.
local function take_out(job)
  if job.parked then
    redis.call('ZREM', P .. 'parked:' .. job.parked, job.id)
    local list = string.match(job.parked, '^limit:(.*)$')
    if list then
      forget_list(string.match(list, '^[^|]*'), list)
    end
  elseif job.status == 'input_required' then
    redis.call('ZREM', P .. 'waiting', job.id)
  elseif redis.call('ZREM', P .. 'delayed', job.id) == 0 and job.queue then
    redis.call('ZREM', P .. 'ready:' .. job.queue, job.id)
    pass_on(job)
  end
end

local function is_leased(job)
  return job.token ~= nil and not TERMINAL[job.status]
end
