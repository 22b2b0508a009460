-- What the webhook_* scripts share, after prelude.lua. The keys behind webhooks:
--   webhooks · webhooks:<scope>   zsets: webhook ids by creation (ms); a scope is a session or *
--   webhook:<id>                  hash: scope url types owner description created_at generation, and, where they
--                                 apply, disabled_at disabled_reason failing_since failed_at
--   delivery:<id>                 hash: one event on its way to one webhook, with its body's data
--   webhook_due:<id> · webhook_flight:<id> · webhook_done:<id> · webhook_dead:<id>
--                                 zsets: a delivery is in exactly one: by due time, end of the try's lease, end, end
--   webhook_next                  zset: webhooks by when one of their deliveries can next be claimed
-- The one-off webhooks of jobs (webhook_url) have an id once_<hash> and no webhook:<id>.

local MOST_IN_FLIGHT = 4
-- An endpoint that is down keeps what waits for it for 18 hours; past this much, what comes is dead at once.
local MOST_WAITING = 10000
local MOST_DONE = 1000
local MOST_DEAD = 10000
local ENDED_MS = 604800000

local function is_once(wid)
  return string.sub(wid, 1, 5) == 'once_'
end

local function zset(place, wid)
  return P .. 'webhook_' .. place .. ':' .. wid
end

local function first_score(key)
  return tonumber(redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2])
end

-- Keeps webhook_next true: the next due delivery if there is room in flight, else the next end of a lease.
local function reschedule(wid)
  local lease = first_score(zset('flight', wid))
  local at = lease
  if redis.call('ZCARD', zset('flight', wid)) < MOST_IN_FLIGHT then
    local due = first_score(zset('due', wid))
    at = due and math.min(due, lease or due) or lease
  end
  if at then
    redis.call('ZADD', P .. 'webhook_next', int(at), wid)
  else
    redis.call('ZREM', P .. 'webhook_next', wid)
  end
end

-- Keeps hooked true: the event types that some webhook of the scope wants.
local function rehook(scope)
  local seen, types = {}, {}
  for _, wid in ipairs(redis.call('ZRANGE', P .. 'webhooks:' .. scope, 0, -1)) do
    local hook = redis.call('HMGET', P .. 'webhook:' .. wid, 'types', 'disabled_at')
    for kind in string.gmatch(not hook[2] and hook[1] or '', '[^,]+') do
      if not seen[kind] then
        seen[kind] = true
        types[#types + 1] = kind
      end
    end
  end
  if #types > 0 then
    redis.call('HSET', P .. 'hooked', scope, ',' .. table.concat(types, ',') .. ',')
  else
    redis.call('HDEL', P .. 'hooked', scope)
  end
end

-- Ends a delivery (`done` or `dead`). Only what is dead can be sent again, so only that keeps its data.
local function conclude(id, wid, state)
  local ended, most = zset(state, wid), state == 'done' and MOST_DONE or MOST_DEAD
  redis.call('HSET', P .. 'delivery:' .. id, 'state', state, 'ended_at', int(now()))
  redis.call('HDEL', P .. 'delivery:' .. id, 'due_at')
  if state == 'done' then
    redis.call('HDEL', P .. 'delivery:' .. id, 'd')
  end
  redis.call('PEXPIRE', P .. 'delivery:' .. id, ENDED_MS)
  redis.call('ZADD', ended, int(now()), id)
  redis.call('PEXPIRE', ended, ENDED_MS)
  redis.call('ZREMRANGEBYSCORE', ended, '-inf', int(now() - ENDED_MS))
  for _, old in ipairs(redis.call('ZRANGE', ended, 0, -(most + 1))) do
    redis.call('ZREM', ended, old)
    redis.call('DEL', P .. 'delivery:' .. old)
  end
end
