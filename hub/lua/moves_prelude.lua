-- How a job moves from one status to the next, is made, ended and cancelled. After places_prelude.lua.

local create -- defined below; an ending may create the agent's next turn
local prune -- defined below; a cancel goes on to the job's children

local function free_key(job)
  local holder = job.key and P .. 'key:' .. job.session_id .. ':' .. job.key
  if holder and redis.call('GET', holder) == job.id then
    redis.call('DEL', holder)
  end
end

local function ended(job)
  redis.call('ZREM', P .. 'active:' .. job.session_id, job.id)
  if job.expires_at then
    redis.call('ZREM', P .. 'expiring', job.id)
  end
  redis.call('PEXPIRE', P .. 'job:' .. job.id, KEEP_MS)
  redis.call('PEXPIRE', P .. 'memo:' .. job.id, KEEP_MS)
  if job.log_lines ~= '0' then
    redis.call('PEXPIRE', P .. 'log:' .. job.id, KEEP_MS)
  end
  if job.parent_id then
    redis.call('ZREM', P .. 'children:' .. job.parent_id, job.id)
  end
  free_key(job)
  if job.status == 'failed' and not is_silent(job) then
    redis.call('ZADD', P .. 'dead', now(), job.id)
  end
  if job.origin == 'agent' and AGENT and not job.silent then
    local hex = random_hex()
    local at = now()
    local high = math.floor(at / 16777216)
    local stamp = string.format('%06x%06x', high, at - high * 16777216)
    create({
      id = string.sub(stamp, 1, 8) .. '-' .. string.sub(stamp, 9) .. '-7' .. string.sub(job.id, 16, 18) .. '-8' ..
        string.sub(hex, 1, 3) .. '-' .. string.sub(hex, 4, 15),
      session_id = job.session_id, task = 'agent.turn', queue = 'agent', priority = '5', max_attempts = '5',
      params = '{"about_job":"' .. job.id .. '"}', timeout = '120', reply_id = 'word.' .. job.id,
    })
  end
end

-- `turn` is the job in which the agent answers; kept beside the message, not in it.
local function say(sid, role, message_id, text, jid, turn)
  local ids = P .. 'msgids:' .. sid
  if redis.call('ZSCORE', ids, message_id) then
    return false
  end
  local data = '{"message_id":"' .. message_id .. '","role":"' .. role .. '","text":' .. text ..
    (jid and ',"job_id":"' .. jid .. '"' or '') .. '}'
  local cursor = emit(sid, 'message.' .. role, nil, nil, data)
  local stored = string.sub(data, 1, -2) .. ',"time":"' .. iso(now()) .. '"}'
  redis.call('XADD', P .. 'messages:' .. sid, 'MAXLEN', '~', MESSAGES_MAX, cursor, 'm', stored, 't', turn or '')
  redis.call('ZADD', ids, tonumber(string.match(cursor, '^%d+')), message_id)
  redis.call('ZREMRANGEBYRANK', ids, 0, -(MESSAGES_MAX + 1))
  return cursor
end

-- Moves a job to `status`: hash, event, publication, outbox, and what an ending brings.
-- `changes` are hash fields (false clears one); those that are shown are told in the event.
local function move(job, status, changes)
  changes.status = status
  changes.rev = int(tonumber(job.rev) + 1)
  changes.updated_at = int(now())
  if TERMINAL[status] then
    changes.finished_at = changes.updated_at
  end
  if job.parked and changes.parked == nil then
    changes.parked = false
  end
  if job.stall_after then
    redis.call('ZREM', P .. 'quiet', job.id)
    still_alive(job.id, status, job.stall_after)
    if job.stalled_since then
      changes.stalled_since = false
    end
  end
  write(job, changes)
  if not is_silent(job) then
    local parts = {member('progress', job.progress), member('log_lines', job.log_lines)}
    for name in pairs(changes) do
      if is_shown(name) and name ~= 'progress' and name ~= 'log_lines' then
        parts[#parts + 1] = member(name, job[name])
      end
    end
    local kind = 'job.' .. status
    local cursor = emit(job.session_id, kind, job.id, job.rev, '{' .. table.concat(parts, ',') .. '}')
    if wanted_by_webhook(job, kind) then
      outbox(job, kind, cursor)
    end
  elseif status == 'failed' and job.reply_id and redis.call('EXISTS', P .. 'events:' .. job.session_id) == 1 then
    -- A turn of the agent that fails for good must not leave its person wondering, while they are there.
    say(job.session_id, 'agent', job.reply_id, '"Something went wrong on my side, and I could not answer."')
  end
  if TERMINAL[status] then
    ended(job)
  end
  if status == 'cancelling' or status == 'cancelled' then
    prune(job.id)
  end
end

-- Ends a claim: the token is void, and a repeat of the same call is known by it.
local function unlease(job, action, changes)
  redis.call('ZREM', P .. 'running', job.id)
  give_limits(job)
  changes.last_token = job.token
  changes.last_end = action
  changes.token = false
  changes.worker = false
  return changes
end

-- Whether `token` still holds the job: nil when it does; 'done' when this very action was
-- already taken under it; else 'stale'.
local function refusal(job, token, action)
  if is_leased(job) and job.token == token then
    return nil
  end
  if job.last_token == token and job.last_end == action then
    return 'done'
  end
  return 'stale'
end

-- A worker that ends a job while a question is open takes the question back first.
local function withdraw(job)
  if job.status == 'input_required' then
    move(job, 'running', {input = false, input_id = false})
  end
end

-- Writes a new job and tells of it; returns its hash, flat. `job` holds its hash fields; `place` says where it starts:
-- {due = ms}, {expires = ms}, {confirm = input's members}, {lease = ms, token = t},
-- {give_up = ms} (pending in somebody else's queue) or nothing.
create = function(job, place)
  place = place or {}
  local at = int(now())
  job.created_at = at
  job.updated_at = at
  job.rev = '1'
  job.attempt = '1'
  job.lost = '0'
  job.released = '0'
  job.log_lines = '0'
  job.claims = '0'
  job.status = 'pending'
  if place.confirm then
    job.status = 'input_required'
    job.input = '{' .. place.confirm .. ',"asked_at":"' .. iso(now()) .. '"}'
  elseif place.lease then
    job.status = 'running'
    job.started_at = at
    job.token = place.token
    job.foreign = '1'
  elseif place.due then
    job.run_at = int(place.due)
  end
  if place.expires then
    job.expires_at = int(place.expires)
    redis.call('ZADD', P .. 'expiring', job.expires_at, job.id)
  end
  local flat = {}
  for name, value in pairs(job) do
    flat[#flat + 1] = name
    flat[#flat + 1] = value
  end
  redis.call('HSET', P .. 'job:' .. job.id, unpack(flat))
  if job.queue then
    redis.call('SADD', P .. 'queues', job.queue)
  end
  if place.confirm then
    redis.call('ZADD', P .. 'waiting', at, job.id)
  elseif place.lease then
    redis.call('ZADD', P .. 'running', int(now() + place.lease), job.id)
  elseif place.give_up then
    redis.call('ZADD', P .. 'parked:foreign', int(place.give_up), job.id)
  elseif place.due then
    redis.call('ZADD', P .. 'delayed', job.run_at, job.id)
  else
    make_ready(job)
  end
  if job.parent_id then
    redis.call('ZADD', P .. 'children:' .. job.parent_id, at, job.id)
  end
  if is_silent(job) then
    return flat
  end
  redis.call('ZADD', P .. 'jobs', at, job.id)
  redis.call('ZADD', P .. 'jobs:' .. job.session_id, at, job.id)
  redis.call('ZADD', P .. 'active:' .. job.session_id, at, job.id)
  local kind = 'job.' .. job.status
  local cursor = emit(job.session_id, kind, job.id, '1', whole(job))
  if wanted_by_webhook(job, kind) then
    outbox(job, kind, cursor)
  end
  return flat
end

-- Cancels a job in whatever status it is; true unless it had completed or failed already.
local function cancel(job)
  if job.status == 'cancelled' or job.status == 'cancelling' then
    return true
  elseif TERMINAL[job.status] then
    return false
  elseif is_leased(job) then
    move(job, 'cancelling', {input = false, input_id = false})
    redis.call('SPUBLISH', P .. 'control', 'cancel ' .. job.id)
    return true
  end
  take_out(job)
  move(job, 'cancelled', {input = false, input_id = false, run_at = false})
  return true
end

-- Cancels the live children of a job that is cancelled, and theirs. One script does a bounded part
-- of that; the tick goes on with the rest.
local pruned = 0
prune = function(id)
  local children = P .. 'children:' .. id
  for _, child in ipairs(redis.call('ZRANGE', children, 0, -1)) do
    if pruned >= PRUNE_MAX then
      redis.call('ZADD', P .. 'pruning', now(), id)
      return false
    end
    pruned = pruned + 1
    local job = load_job(child)
    if job.id then
      cancel(job)
    else
      redis.call('ZREM', children, child)
    end
  end
  return true
end
