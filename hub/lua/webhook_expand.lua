-- KEYS 1 prefix
-- ARGV 1 seed · 2 most entries
-- Takes entries off the outbox and makes a delivery for each webhook that wants them, in one step: a crash can
-- neither lose nor double one. Returns {entries taken, id of the outbox's newest entry ever, deliveries dead at once}

-- A job's own webhook_url gets what a webhook without types gets.
local ONCE_TYPES = {['job.completed'] = true, ['job.failed'] = true, ['job.cancelled'] = true, ['job.input_required'] = true}
local stream = P .. 'outbox'
local overflowed = 0

local function deliver(entry, wid, at, url, credential)
  local id = 'msg_' .. redis.sha1hex(entry.s .. ' ' .. entry.c .. ' ' .. wid)
  local key = P .. 'delivery:' .. id
  if redis.call('EXISTS', key) == 1 then
    return
  end
  redis.call('HSET', key, 'id', id, 'webhook', wid, 'session', entry.s, 'job', entry.j, 'type', entry.t, 'time', at,
    'd', entry.d, 'tries', '0', 'claims', '0', 'state', 'waiting', 'due_at', int(now()))
  if url then
    redis.call('HSET', key, 'url', url, 'credential', credential)
  end
  redis.call('ZADD', zset('all', wid), at, id)
  if redis.call('ZCARD', zset('due', wid)) >= MOST_WAITING then
    redis.call('HSET', key, 'why', 'too many deliveries wait for this webhook')
    conclude(id, wid, 'dead')
    overflowed = overflowed + 1
  else
    add_due(id, wid)
  end
end

-- One-offs to one origin share a webhook id, so that a slow one has no more tries in flight than any other webhook.
local function once(url, credential)
  return 'once_' .. redis.sha1hex(credential .. ' ' .. string.lower(string.match(url, '^"(%a+://[^/?#"]*)') or url))
end

local entries = redis.call('XRANGE', stream, '-', '+', 'COUNT', ARGV[2])
for _, found in ipairs(entries) do
  local entry = {}
  for i = 1, #found[2], 2 do
    entry[found[2][i]] = found[2][i + 1]
  end
  local at = string.match(found[1], '^%d+')
  for _, scope in ipairs(entry.t == 'wake' and {} or {entry.s, '*'}) do
    for _, wid in ipairs(redis.call('ZRANGE', P .. 'webhooks:' .. scope, 0, -1)) do
      local hook = redis.call('HMGET', P .. 'webhook:' .. wid, 'types', 'disabled_at')
      if hook[1] and not hook[2] and string.find(hook[1], ',' .. entry.t .. ',', 1, true) then
        deliver(entry, wid, at)
      end
    end
  end
  if ONCE_TYPES[entry.t] and entry.w ~= '' then
    deliver(entry, once(entry.w, entry.k), at, entry.w, entry.k)
  end
  redis.call('XDEL', stream, found[1])
end

local newest = '0-0'
if redis.call('EXISTS', stream) == 1 then
  local info = redis.call('XINFO', 'STREAM', stream)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then
      newest = info[i + 1]
    end
  end
end
return {#entries, newest, overflowed}
