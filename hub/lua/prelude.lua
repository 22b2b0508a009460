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
  'stalled_since', 'parked'}

local shown
local function is_shown(name)
  if not shown then
    shown = {}
    for _, each in ipairs(SHOWN) do
      shown[each] = true
    end
  end
  return shown[name]
end

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
  elseif name == 'parked' then
    -- Behind a bar is which of a limit's lists it is in, and a job of somebody else's queue waits for nothing of ours.
    return value == 'foreign' and '"parked":null' or '"parked":"' .. string.match(value, '^[^|]*') .. '"'
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
local hooked
local function wanted_by_webhook(job, kind)
  if job.webhook_url and (TERMINAL[job.status] or job.status == 'input_required') then
    return true
  end
  if hooked == nil then
    hooked = redis.call('EXISTS', P .. 'hooked') == 1
  end
  if not hooked then
    return false
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
