-- KEYS 1 prefix
-- ARGV 1 seed · 2 id · 3 idempotency name or "" · 4 run_at ms or "" · 5 delay ms or ""
--      6 expires_in ms or "" · 7 members of a confirm's input or "" · 8 input id or ""
--      9 stall deadline ms (a job of somebody else's queue) or ""
--      10 token of its parent, whose code queues it, or "" · 11 the tasks_rev that its params were checked
--      under, or "" when that is no matter · 12… hash field, value, …
-- Returns {"new" | "old", the job's hash, flat} · {"busy", outbox length}
--         · {"announced", tasks_rev} when tasks have been announced otherwise since
--         · {"live", status} when what it retries has not ended · {"gone"} when that is unknown
--         · {"stale" | "cancelling", status of its parent or ""} when that may have no more children

local id = ARGV[2]
local job = {id = id}
for i = 12, #ARGV, 2 do
  job[ARGV[i]] = ARGV[i + 1]
end

local function existing(found)
  return {'old', redis.call('HGETALL', P .. 'job:' .. found)}
end

if redis.call('EXISTS', P .. 'job:' .. id) == 1 then
  return existing(id)
end
local idem = ARGV[3] ~= '' and P .. 'idem:' .. ARGV[3]
local holder = job.key and P .. 'key:' .. job.session_id .. ':' .. job.key
for _, name in ipairs({idem or '', holder or ''}) do
  local found = name ~= '' and redis.call('GET', name)
  -- A job of a session that was forgotten stands for nothing any more.
  local was = found and redis.call('HMGET', P .. 'job:' .. found, 'id', 'silent')
  if was and was[1] and not was[2] then
    return existing(found)
  end
end
if job.retry_of then
  local was = redis.call('HMGET', P .. 'job:' .. job.retry_of, 'status', 'retried_by')
  if not was[1] then
    return {'gone'}
  elseif not TERMINAL[was[1]] then
    return {'live', was[1]}
  elseif was[2] and redis.call('EXISTS', P .. 'job:' .. was[2]) == 1 then
    return existing(was[2])
  end
end
if ARGV[10] ~= '' then
  local parent = redis.call('HMGET', P .. 'job:' .. job.parent_id, 'token', 'status')
  if parent[1] ~= ARGV[10] or TERMINAL[parent[2]] then
    return {'stale', parent[2] or ''}
  elseif parent[2] == 'cancelling' then
    return {'cancelling', parent[2]}
  end
end
if ARGV[11] ~= '' then
  local rev = redis.call('GET', P .. 'tasks_rev') or ''
  if rev ~= ARGV[11] then
    return {'announced', rev}
  end
end
local waiting = redis.call('XLEN', P .. 'outbox')
if waiting >= OUTBOX_MAX then
  return {'busy', waiting}
end

local place = {}
if ARGV[7] ~= '' then
  place.confirm = ARGV[7]
  job.input_id = ARGV[8]
elseif ARGV[9] ~= '' then
  place.lease = tonumber(ARGV[9])
  place.token = '1:' .. random48()
  job.stall = ARGV[9]
end
local due = ARGV[4] ~= '' and tonumber(ARGV[4]) or ARGV[5] ~= '' and now() + tonumber(ARGV[5])
if due and due > now() then
  place.due = due
end
if ARGV[6] ~= '' then
  place.expires = now() + tonumber(ARGV[6])
end
if place.confirm and place.due then
  job.due = int(place.due)
end

local flat = create(job, place)
if idem then
  redis.call('SET', idem, id, 'PX', IDEMPOTENCY_MS)
end
if holder then
  redis.call('SET', holder, id)
end
if job.retry_of then
  redis.call('HSET', P .. 'job:' .. job.retry_of, 'retried_by', id)
  redis.call('ZREM', P .. 'dead', job.retry_of)
end
-- Listing forgets what has expired: of both lists sixteen entries with every eighth job.
if string.find(random_hex(), '^[01]') then
  for _, list in ipairs({P .. 'jobs', P .. 'jobs:' .. job.session_id}) do
    for _, old in ipairs(redis.call('ZRANGE', list, 0, 15)) do
      if redis.call('EXISTS', P .. 'job:' .. old) == 0 then
        redis.call('ZREM', list, old)
      end
    end
  end
end
return {'new', flat}
