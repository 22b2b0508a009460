-- What the webhook_* scripts share, after prelude.lua. The keys behind webhooks:
--   webhooks · webhooks:<scope>   zsets: webhook ids by creation (ms); a scope is a session or *
--   webhook:<id>                  hash: scope url types owner description created_at generation, and, where they
--                                 apply, disabled_at disabled_reason failing_since failed_at; older: generations
--                                 of its secret that still sign, `1:<until, ms> 2:<until, ms>`
--   delivery:<id>                 hash: one event on its way to one webhook, with its body's data `d`; what came of
--                                 the n-th try in `try:<n>`, for the last MOST_TRIES of `tried`; `why` it is dead
--                                 where no try made it so
--   webhook_due:<id> · webhook_flight:<id> · webhook_done:<id> · webhook_dead:<id>
--                                 zsets: a delivery is in exactly one: by due time, end of the try's lease, end, end
--   webhook_all:<id>              zset: all of its deliveries that are kept, by the time of the event
--   webhook_next                  zset: webhooks by when one of their deliveries can next be claimed
-- The one-off webhooks of jobs (webhook_url) have an id once_<hash> and no webhook:<id>.

local MOST_IN_FLIGHT = 4
-- An endpoint that is down keeps what waits for it for 18 hours; past this much, what comes is dead at once.
local MOST_WAITING = 10000
local MOST_DONE = 1000
local MOST_DEAD = 10000
local ENDED_MS = 604800000
-- What was delivered can be sent again too, but only the newest of it: their data is most of what they take.
local MOST_BODIES = 100
local MOST_TRIES = 8
-- How many that ended long ago go with each that ends, and how many of the list are looked at for ones that are gone.
local SWEEP = 100
local LOOK = 3

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

-- Puts a delivery among those that wait, due now.
local function add_due(id, wid)
  redis.call('ZADD', zset('due', wid), int(now()), id)
  redis.call('PERSIST', zset('all', wid))
  reschedule(wid)
end

local function forget_delivery(id, wid, place)
  redis.call('ZREM', zset(place, wid), id)
  redis.call('ZREM', zset('all', wid), id)
  redis.call('DEL', P .. 'delivery:' .. id)
end

-- Ends a delivery (`done` or `dead`), and forgets of the older ones what is past its bound.
local function conclude(id, wid, state)
  local ended, most = zset(state, wid), state == 'done' and MOST_DONE or MOST_DEAD
  local all = zset('all', wid)
  redis.call('HSET', P .. 'delivery:' .. id, 'state', state, 'ended_at', int(now()))
  redis.call('HDEL', P .. 'delivery:' .. id, 'due_at')
  redis.call('PEXPIRE', P .. 'delivery:' .. id, ENDED_MS)
  redis.call('ZADD', ended, int(now()), id)
  redis.call('PEXPIRE', ended, ENDED_MS)
  for _, old in ipairs(redis.call('ZRANGEBYSCORE', ended, '-inf', int(now() - ENDED_MS), 'LIMIT', 0, SWEEP)) do
    forget_delivery(old, wid, state)
  end
  for _, old in ipairs(redis.call('ZRANGE', ended, 0, -(most + 1))) do
    forget_delivery(old, wid, state)
  end
  if state == 'done' then
    -- Each that ends moves one past the bound.
    for _, old in ipairs(redis.call('ZRANGE', ended, -(MOST_BODIES + 1), -(MOST_BODIES + 1))) do
      redis.call('HDEL', P .. 'delivery:' .. old, 'd')
    end
  end
  -- A few at random: what has expired by itself cannot grow past a share of the list.
  for _, some in ipairs(redis.call('ZRANDMEMBER', all, LOOK)) do
    if redis.call('EXISTS', P .. 'delivery:' .. some) == 0 then
      redis.call('ZREM', all, some)
    end
  end
  if redis.call('EXISTS', zset('due', wid), zset('flight', wid)) == 0 then
    redis.call('PEXPIRE', all, ENDED_MS)
  end
end

-- Disables a webhook: what waits for it is dropped by the next claim.
local function disable(wid, scope, why)
  redis.call('HSET', P .. 'webhook:' .. wid, 'disabled_at', int(now()), 'disabled_reason', why)
  rehook(scope)
  if redis.call('EXISTS', zset('due', wid)) == 1 then
    redis.call('ZADD', P .. 'webhook_next', int(now()), wid)
  end
end

-- The generations of a webhook's secret that still sign beside its own, newest last.
local function live_older(older)
  local live = {}
  for generation, till in string.gmatch(older or '', '(%d+):(%d+)') do
    if tonumber(till) > now() then
      live[#live + 1] = {generation, tonumber(till)}
    end
  end
  return live
end

-- Brings the next try of a delivery that waits forward.
local function hasten(id, wid)
  redis.call('HSET', P .. 'delivery:' .. id, 'due_at', int(now()))
  add_due(id, wid)
end

-- Wakes a hub, which blocks on the outbox: an entry that is for nobody.
local function wake_hub()
  redis.call('XADD', P .. 'outbox', '*', 't', 'wake')
end

-- Sends a delivery that ended (in `state`) once more, as if it had never been tried.
local function replay(id, wid, state)
  local key = P .. 'delivery:' .. id
  redis.call('ZREM', zset(state, wid), id)
  redis.call('HSET', key, 'state', 'waiting', 'tries', '0', 'due_at', int(now()), 'replay', ARGV[1])
  redis.call('HDEL', key, 'ended_at', 'why')
  redis.call('HINCRBY', key, 'replays', 1)
  redis.call('PERSIST', key)
  add_due(id, wid)
end
