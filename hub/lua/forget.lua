#!lua flags=allow-oom
-- KEYS 1 prefix
-- ARGV 1 seed · 2 session id · 3 most jobs in one call
-- Cancels a session's live jobs and deletes the rest of it. Returns {jobs left, 1 if it existed}:
-- call again while jobs are left. The last call tells open sockets.

local sid, most = ARGV[2], tonumber(ARGV[3])
local known = redis.call('ZSCORE', P .. 'sessions', sid) and 1 or 0
local list, live = P .. 'jobs:' .. sid, P .. 'active:' .. sid
for _, id in ipairs(redis.call('ZRANGE', list, 0, most - 1)) do
  local job = load_job(id)
  if job.id then
    -- What is still running ends in silence: its session is gone, and a new one owes it nothing.
    write(job, {silent = '1'})
    cancel(job)
    free_key(job)
    if TERMINAL[job.status] then
      redis.call('DEL', P .. 'job:' .. id, P .. 'log:' .. id, P .. 'memo:' .. id, P .. 'children:' .. id)
    end
  end
  redis.call('ZREM', list, id)
  redis.call('ZREM', live, id)
  redis.call('ZREM', P .. 'jobs', id)
  redis.call('ZREM', P .. 'dead', id)
end
local left = redis.call('ZCARD', list)
if left == 0 then
  redis.call('DEL', P .. 'events:' .. sid, P .. 'messages:' .. sid, P .. 'msgids:' .. sid, list, live)
  redis.call('ZREM', P .. 'sessions', sid)
  redis.call('SPUBLISH', P .. 'live:' .. sid, 'X -\n')
end
return {left, known}
