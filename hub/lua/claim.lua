-- KEYS 1 prefix
-- ARGV 1 seed · 2 worker id · 3 request id · 4 lease ms · 5 most jobs
--      6 tasks that the worker has, ",a,b," · 7… queues, first one first
-- Returns a list of {id, token, session_id, task, params, attempt, max_attempts, timeout or "",
--                    log_lines, lost, memo ("1" when something is kept for a rerun, or ""), queue,
--                    ms for which it had been due}

local worker, request, lease = ARGV[2], ARGV[3], tonumber(ARGV[4])
local most, tasks = tonumber(ARGV[5]), ARGV[6]
local out = {}

local function hand_out(job, waited)
  local memo = redis.call('EXISTS', P .. 'memo:' .. job.id) == 1 and '1' or ''
  redis.call('ZADD', P .. 'running', int(now() + lease), job.id)
  out[#out + 1] = {job.id, job.token, job.session_id, job.task, job.params, job.attempt, job.max_attempts,
    job.timeout or '', job.log_lines, job.lost, memo, job.queue, waited}
end

-- A repeat of a claim whose reply was lost gets the same jobs, as far as they are still its own. It may come
-- after a long outage, so what a worker was last given is kept for long, and only that.
local last = P .. 'reply:' .. worker .. ':' .. (ARGV[7] or '')
local of, cached = string.match(redis.call('GET', last) or '', '^(%S+)\n(.*)$')
if of == request then
  for id, token, waited in string.gmatch(cached, '(%S+) (%S+) (%S+)') do
    local job = load_job(id)
    if is_leased(job) and job.token == token then
      hand_out(job, waited)
    end
  end
  return out
end

local remembered = {}

local function start(job)
  local claims = int(tonumber(job.claims) + 1)
  local changes = {claims = claims, token = claims .. ':' .. random48(), worker = worker,
    started_at = int(now()), expires_at = false}
  if job.expires_at then
    redis.call('ZREM', P .. 'expiring', job.id)
  end
  if job.error then
    changes.error = false
    changes.traceback = false
  end
  if job.run_at then
    changes.run_at = false
  end
  local due = math.max(tonumber(job.updated_at), tonumber(job.run_at or '0'))
  move(job, 'running', changes)
  local waited = int(math.max(0, now() - due))
  hand_out(job, waited)
  remembered[#remembered + 1] = job.id .. ' ' .. job.token .. ' ' .. waited
  take_limits(job)
end

-- Parking and expiring are work too: a call does a bounded amount of it, the next goes on.
local budget = most + 100
for q = 7, #ARGV do
  local queue = ARGV[q]
  local ready = P .. 'ready:' .. queue
  local farthest = {}
  local paused = redis.call('SISMEMBER', P .. 'paused', queue) == 1
  while #out < most and budget > 0 and not paused do
    local popped = redis.call('ZPOPMIN', ready, most - #out)
    if #popped == 0 then
      break
    end
    budget = budget - #popped / 2
    for i = 1, #popped, 2 do
      local job = load_job(popped[i])
      local priority = math.floor(tonumber(popped[i + 1]) / PRIORITY_STEP)
      if not job.id then
        -- Its hash was deleted by hand: there is nothing left to run.
      elseif job.expires_at and tonumber(job.expires_at) <= now() then
        move(job, 'failed', {error = '{"code":"expired","message":"No worker took it within expires_in."}'})
        pass_on(job)
      elseif not string.find(tasks, ',' .. job.task .. ',', 1, true) then
        local reason = 'task:' .. job.task
        set_parked(job, reason)
        redis.call('ZADD', P .. 'parked:' .. reason, now(), job.id)
        redis.call('SADD', P .. 'parked', reason)
        pass_on(job)
      else
        local limit, list, bound = obstacle(job)
        if limit then
          park_behind(job, limit, list, bound, popped[i + 1])
        else
          start(job)
          farthest[priority] = math.max(farthest[priority] or 0, tonumber(popped[i + 1]) - priority * PRIORITY_STEP)
        end
      end
    end
  end
  for priority, tag in pairs(farthest) do
    local virtual = P .. 'vtime:' .. queue
    if tag > tonumber(redis.call('HGET', virtual, priority) or '0') then
      redis.call('HSET', virtual, priority, int(tag))
      redis.call('ZREMRANGEBYSCORE', P .. 'tags:' .. queue .. ':' .. priority, '-inf', int(tag))
    end
  end
  if not paused and redis.call('EXISTS', ready) == 1 then
    redis.call('ZADD', P .. 'wake:' .. queue, 0, '1')
  end
end
if #remembered > 0 then
  redis.call('SET', last, request .. '\n' .. table.concat(remembered, '\n'), 'PX', IDEMPOTENCY_MS)
end
return out
