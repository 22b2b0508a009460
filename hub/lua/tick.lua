#!lua flags=allow-oom
-- KEYS 1 prefix
-- ARGV 1 seed · 2 id of the caller · 3 ms for which it leads · 4 most jobs of each kind
-- Returns {"led" | "follows" | "holds", reaped, promoted, expired, unparked, forgotten, schedules due,
--         1 when nothing is due within a second}

local me, lead, most = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local state = P .. 'tick'
local was = redis.call('HMGET', state, 'leader', 'until', 'last', 'replid', 'hold_until')
local led_until = tonumber(was[2] or '0')
-- A deadline farther off than any that is given was written before the clock stepped back.
if was[1] and was[1] ~= me and led_until > now() and led_until <= now() + lead then
  return {'follows', 0, 0, 0, 0, 0, 0, 1}
end
local replid = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)') or ''
local last, hold = tonumber(was[3] or '0'), tonumber(was[5] or '0')
-- Where ticks were missing, leases ran out that nobody could renew: reap nothing for one lease. A leader's death is
-- no gap: it leads on for 1 s, and the next one looks 0.95 s later at the latest, or a little more when it is busy.
local longest_gap = math.max(LEASE_MS / 3, 2500)
if last > 0 and (now() - last > longest_gap or now() < last or was[4] ~= replid) then
  hold = now() + LEASE_MS
end
redis.call('HSET', state, 'leader', me, 'until', int(now() + lead), 'last', int(now()), 'replid', replid,
  'hold_until', int(hold))

local function due(zset, before, count)
  return redis.call('ZRANGEBYSCORE', P .. zset, '-inf', int(before), 'LIMIT', 0, count)
end

local function fail(job, code, message, changes)
  changes.error = '{"code":"' .. code .. '","message":"' .. message .. '"}'
  changes.traceback = false
  move(job, 'failed', changes)
end

local reaped, holds = 0, hold > now()
if not holds then
  for _, id in ipairs(due('running', now() - KILL_GRACE_MS, most)) do
    local job = load_job(id)
    reaped = reaped + 1
    if not job.id then
      redis.call('ZREM', P .. 'running', id)
    else
      local changes = unlease(job, 'reap', {})
      if job.status == 'cancelling' then
        move(job, 'cancelled', changes)
      elseif job.foreign then
        withdraw(job)
        if job.redelivers then
          changes.lost = int(tonumber(job.lost) + 1)
          changes.parked = 'foreign'
          move(job, 'pending', changes)
          redis.call('ZADD', P .. 'parked:foreign', int(now() + tonumber(job.redelivers)), job.id)
        else
          fail(job, 'lost', 'Nothing was heard from its queue until its stall deadline.', changes)
        end
      elseif job.status == 'input_required' then
        write(job, changes)
        redis.call('ZADD', P .. 'waiting', now(), id)
      else
        changes.lost = int(tonumber(job.lost) + 1)
        if tonumber(changes.lost) > MAX_LOST then
          fail(job, 'lost', 'Its worker was lost ' .. changes.lost .. ' times.', changes)
        else
          move(job, 'pending', changes)
          make_ready(job, true)
        end
      end
    end
  end
end

-- Trees whose cancelling was too much for one script.
for _, id in ipairs(due('pruning', now(), 10)) do
  redis.call('ZREM', P .. 'pruning', id)
  prune(id)
end

local promoted = 0
for _, id in ipairs(due('delayed', now(), most)) do
  local job = load_job(id)
  redis.call('ZREM', P .. 'delayed', id)
  if job.id then
    make_ready(job)
    promoted = promoted + 1
  end
end

local expired = 0
for _, id in ipairs(due('expiring', now(), most)) do
  local job = load_job(id)
  redis.call('ZREM', P .. 'expiring', id)
  if job.id and job.status == 'pending' then
    take_out(job)
    fail(job, 'expired', 'No worker took it within expires_in.', {run_at = false})
    expired = expired + 1
  end
end

-- Jobs that somebody else's queue was to hand out, and did not.
for _, id in ipairs(due('parked:foreign', now(), most)) do
  local job = load_job(id)
  redis.call('ZREM', P .. 'parked:foreign', id)
  if job.id then
    fail(job, 'lost', 'Its queue did not hand it out in time.', {run_at = false})
    expired = expired + 1
  end
end

-- Jobs that are held and say nothing. One that waits for its children has nothing to say.
for _, id in ipairs(due('quiet', now(), most)) do
  local job = load_job(id)
  local lease = tonumber(redis.call('ZSCORE', P .. 'running', id) or '0')
  if job.id and job.status == 'running' and redis.call('EXISTS', P .. 'children:' .. id) == 1 then
    still_alive(id, job.status, job.stall_after)
  else
    local last_sign = tonumber(redis.call('ZSCORE', P .. 'quiet', id)) - tonumber(job.stall_after or '0')
    redis.call('ZREM', P .. 'quiet', id)
    if job.id and job.status == 'running' and lease > now() then
      write(job, {stalled_since = int(last_sign), rev = int(tonumber(job.rev) + 1), updated_at = int(now())})
      if not is_silent(job) then
        tell_latest(job.session_id, id, job.rev, member('progress', job.progress) .. ',' ..
          member('stalled_since', job.stalled_since))
      end
    end
  end
end

-- Parked jobs: back to ready when a live worker has their task, failed after a day without one.
local unparked = 0
local reasons = redis.call('SMEMBERS', P .. 'parked')
if #reasons > 0 then
  local workers = {}
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. 'workers', int(now() - 2 * LEASE_MS), '+inf')) do
    workers[#workers + 1] = redis.call('HMGET', P .. 'worker:' .. id, 'tasks', 'queues')
  end
  local function served(job)
    for _, w in ipairs(workers) do
      if w[1] and w[2] and string.find(w[1], ',' .. job.task .. ',', 1, true)
        and string.find(w[2], ',' .. job.queue .. ',', 1, true) then
        return true
      end
    end
  end
  for _, reason in ipairs(reasons) do
    local zset = P .. 'parked:' .. reason
    -- What waits for its turn is let in by the script that ends another's.
    local entries = string.find(reason, '^task:') and redis.call('ZRANGE', zset, 0, most - 1, 'WITHSCORES') or {}
    for i = 1, #entries, 2 do
      local job = load_job(entries[i])
      if not job.id then
        redis.call('ZREM', zset, entries[i])
      elseif served(job) then
        take_out(job)
        set_parked(job, false)
        make_ready(job, true)
        unparked = unparked + 1
      elseif now() - tonumber(entries[i + 1]) > 86400000 then
        take_out(job)
        fail(job, 'unknown_task', 'No worker knew its task for a day.', {})
      end
    end
    if redis.call('EXISTS', zset) == 0 then
      redis.call('SREM', P .. 'parked', reason)
    end
  end
end

-- What has been idle for long is forgotten, never a session with a live job.
local forgotten = 0
for _, sid in ipairs(due('sessions', now() - KEEP_MS, 10)) do
  if redis.call('EXISTS', P .. 'active:' .. sid) == 1 then
    redis.call('ZADD', P .. 'sessions', now(), sid)
  else
    redis.call('DEL', P .. 'events:' .. sid, P .. 'messages:' .. sid, P .. 'msgids:' .. sid, P .. 'jobs:' .. sid)
    redis.call('ZREM', P .. 'sessions', sid)
    forgotten = forgotten + 1
  end
end
redis.call('ZREMRANGEBYSCORE', P .. 'dead', '-inf', int(now() - KEEP_MS))
redis.call('ZREMRANGEBYSCORE', P .. 'workers', '-inf', int(now() - 4 * LEASE_MS))

-- The mark that wakes a worker may have been lost with the worker that took it.
for _, queue in ipairs(redis.call('SRANDMEMBER', P .. 'queues', 32)) do
  if redis.call('EXISTS', P .. 'ready:' .. queue) == 1 and redis.call('SISMEMBER', P .. 'paused', queue) == 0 then
    redis.call('ZADD', P .. 'wake:' .. queue, 0, '1')
  end
end

local calm = #reasons == 0
for _, zset in ipairs({'delayed', 'expiring', 'quiet', 'schedules', 'pruning', 'parked:foreign'}) do
  calm = calm and redis.call('ZCOUNT', P .. zset, '-inf', int(now() + 1000)) == 0
end
calm = calm and redis.call('ZCOUNT', P .. 'running', '-inf', int(now() + 1000 - KILL_GRACE_MS)) == 0
return {holds and 'holds' or 'led', reaped, promoted, expired, unparked, forgotten,
  redis.call('ZCOUNT', P .. 'schedules', '-inf', int(now())), calm and 1 or 0}
