-- What every script shares: the loader puts this file before each of them, with the settings as
-- constants (EVENTS_MAX MESSAGES_MAX LOG_MAX KEEP_MS LEASE_MS MAX_LOST OUTBOX_MAX AGENT).
-- KEYS[1] is the partition's prefix, ARGV[1] a random seed from the caller (Lua's own
-- math.random repeats itself on every fresh server).

local P = KEYS[1]
local SEED = ARGV[1]
local EVENT_PART_MAX = 16384
local PRIORITY_STEP = 1099511627776 -- 2^40: a start tag stays below it
local KILL_GRACE_MS = 500
local IDEMPOTENCY_MS = 86400000
local PRUNE_MAX = 500 -- children that one script cancels
local TERMINAL = {completed = true, failed = true, cancelled = true}

local function int(n)
  return string.format('%.0f', n)
end

local clock
local function now()
  if not clock then
    local t = redis.call('TIME')
    clock = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
  end
  return clock
end

-- Days to a civil date: Howard Hinnant's `civil_from_days`. Most times of a script are its now.
local isos = {}
local function iso(ms)
  if isos[ms] then
    return isos[ms]
  end
  local days = math.floor(ms / 86400000)
  local rest = ms - days * 86400000
  local z = days + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local day = doy - math.floor((153 * mp + 2) / 5) + 1
  local month = mp < 10 and mp + 3 or mp - 9
  local year = yoe + era * 400 + (month <= 2 and 1 or 0)
  isos[ms] = string.format('%04d-%02d-%02dT%02d:%02d:%02d.%03dZ', year, month, day,
    math.floor(rest / 3600000), math.floor(rest / 60000) % 60, math.floor(rest / 1000) % 60, rest % 1000)
  return isos[ms]
end

local drawn = 0
local function random_hex()
  drawn = drawn + 1
  return redis.sha1hex(SEED .. ':' .. drawn)
end

local function random48()
  return int(tonumber(string.sub(random_hex(), 1, 12), 16))
end

-- ---------------------------------------------------------------- the job hash

local NAMES = {id = true, session_id = true, task = true, status = true, queue = true, worker = true, key = true,
  retry_of = true, retried_by = true, parent_id = true}
local TIMES = {created_at = true, run_at = true, started_at = true, finished_at = true, updated_at = true,
  stalled_since = true}
local CAPPED = {params = true, metadata = true, result = true}
-- What events show of a job: everything but its webhook_url and its traceback.
local SHOWN = {'id', 'session_id', 'task', 'title', 'status', 'params', 'queue', 'priority', 'attempt', 'max_attempts',
  'lost', 'released', 'progress', 'log_lines', 'input', 'result', 'error', 'worker', 'key', 'metadata', 'retry_of',
  'retried_by', 'parent_id', 'created_at', 'run_at', 'started_at', 'finished_at', 'updated_at', 'timeout',
  'stalled_since'}

local NUMBERS = {'rev', 'claims', 'priority', 'attempt', 'max_attempts', 'lost', 'released', 'log_lines'}

-- An empty table when there is none. What a hand or a disk has left without these is as good as gone: a script
-- that stumbles over it would lose what else it holds, and do so again on every call.
local function load_job(id)
  local flat = redis.call('HGETALL', P .. 'job:' .. id)
  local job = {}
  for i = 1, #flat, 2 do
    job[flat[i]] = flat[i + 1]
  end
  for _, name in ipairs(NUMBERS) do
    if not tonumber(job[name]) then
      return {}
    end
  end
  if job.id ~= id or not (job.session_id and job.task and job.status and job.params and (job.queue or job.foreign)) then
    return {}
  end
  return job
end

local function member(name, value)
  if not value then
    return '"' .. name .. '":null'
  elseif NAMES[name] then
    return '"' .. name .. '":"' .. value .. '"'
  elseif TIMES[name] then
    return '"' .. name .. '":"' .. iso(tonumber(value)) .. '"'
  elseif CAPPED[name] and #value > EVENT_PART_MAX then
    return '"' .. name .. '":null,"' .. name .. '_truncated":true'
  end
  return '"' .. name .. '":' .. value
end

local function whole(job)
  local parts = {}
  for i, name in ipairs(SHOWN) do
    parts[i] = member(name, job[name])
  end
  return '{' .. table.concat(parts, ',') .. ',"rev":' .. job.rev .. '}'
end

-- Writes `changes` (false clears a field) to the hash and to `job`.
local function write(job, changes)
  local set, del = {}, {}
  for name, value in pairs(changes) do
    if value == false then
      if job[name] then
        del[#del + 1] = name
        job[name] = nil
      end
    else
      set[#set + 1] = name
      set[#set + 1] = value
      job[name] = value
    end
  end
  local key = P .. 'job:' .. job.id
  if #set > 0 then
    redis.call('HSET', key, unpack(set))
  end
  if #del > 0 then
    redis.call('HDEL', key, unpack(del))
  end
end

-- ---------------------------------------------------------------- events

local tops = {}

local function emit(sid, kind, jid, rev, data)
  local stream = P .. 'events:' .. sid
  local prev = tops[sid]
  if not prev then
    local last = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)
    prev = last[1] and last[1][1] or '0-0'
  end
  local cursor = int(tonumber(string.match(prev, '^%d+')) + 1) .. '-' .. random48()
  local about = jid and ',"job_id":"' .. jid .. '","rev":' .. rev or ''
  local body = '{"id":"' .. cursor .. '","type":"' .. kind .. '","session_id":"' .. sid .. '"' .. about ..
    ',"time":"' .. iso(now()) .. '","data":' .. data .. '}'
  local head = 'L ' .. cursor .. ' ' .. prev .. ' ' .. (jid or '-') .. ' ' .. (rev or '0')
  redis.call('XADD', stream, 'MAXLEN', '~', EVENTS_MAX, cursor, 'h', head, 'e', body)
  redis.call('SPUBLISH', P .. 'live:' .. sid, head .. '\n' .. body)
  if not tops[sid] then
    redis.call('ZADD', P .. 'sessions', now(), sid)
  end
  tops[sid] = cursor
  return cursor
end

local hooks = {}
local function wanted_by_webhook(job, kind)
  if job.webhook_url and (TERMINAL[job.status] or job.status == 'input_required') then
    return true
  end
  local wanted = hooks[job.session_id] or redis.call('HMGET', P .. 'hooked', job.session_id, '*')
  hooks[job.session_id] = wanted
  local needle = ',' .. kind .. ','
  return (wanted[1] and string.find(wanted[1], needle, 1, true))
    or (wanted[2] and string.find(wanted[2], needle, 1, true))
end

-- All that a delivery needs, so that it outlives its job.
local function outbox(job, kind, cursor)
  redis.call('XADD', P .. 'outbox', '*', 's', job.session_id, 'j', job.id, 't', kind, 'c', cursor,
    'w', job.webhook_url or '', 'k', job.credential or '', 'd', whole(job))
end

local function is_silent(job)
  return job.queue == 'agent' or job.silent
end

-- Tells of a change that only the latest matters of; `data` are its JSON members.
local function tell_latest(sid, id, rev, data)
  redis.call('SPUBLISH', P .. 'live:' .. sid, 'P ' .. id .. ' ' .. rev .. '\n{"type":"job.progress","session_id":"' ..
    sid .. '","job_id":"' .. id .. '","rev":' .. rev .. ',"time":"' .. iso(now()) .. '","data":{' .. data .. '}}')
end

-- A job that says nothing for `stall_after` ms while it runs has stalled: `quiet` is by when that is due.
local function still_alive(id, status, stall_after)
  if stall_after and status == 'running' then
    redis.call('ZADD', P .. 'quiet', int(now() + tonumber(stall_after)), id)
  end
end

-- ---------------------------------------------------------------- places

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
          write(job, {parked = false})
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
  write(job, {parked = reason})
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

-- Takes a job that no worker holds out of the place that it waits in.
local function take_out(job)
  if job.parked then
    redis.call('ZREM', P .. 'parked:' .. job.parked, job.id)
    local list = string.match(job.parked, '^limit:(.*)$')
    if list then
      forget_list(string.match(list, '^[^|]*'), list)
    end
    write(job, {parked = false})
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

-- ---------------------------------------------------------------- transitions

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
    local parts = {}
    for _, name in ipairs(SHOWN) do
      if changes[name] ~= nil or name == 'progress' or name == 'log_lines' then
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

-- Writes a new job and tells of it. `job` holds its hash fields; `place` says where it starts:
-- {due = ms}, {expires = ms}, {confirm = input's members}, {lease = ms, token = t} or nothing.
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
  elseif place.due then
    redis.call('ZADD', P .. 'delayed', job.run_at, job.id)
  else
    make_ready(job)
  end
  if job.parent_id then
    redis.call('ZADD', P .. 'children:' .. job.parent_id, at, job.id)
  end
  if is_silent(job) then
    return
  end
  redis.call('ZADD', P .. 'jobs', at, job.id)
  redis.call('ZADD', P .. 'jobs:' .. job.session_id, at, job.id)
  redis.call('ZADD', P .. 'active:' .. job.session_id, at, job.id)
  local kind = 'job.' .. job.status
  local cursor = emit(job.session_id, kind, job.id, '1', whole(job))
  if wanted_by_webhook(job, kind) then
    outbox(job, kind, cursor)
  end
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
