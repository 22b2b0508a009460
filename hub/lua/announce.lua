-- KEYS 1 prefix
-- ARGV 1 seed · 2… task name, announcement (JSON without its closing brace), …
-- Where one says something else than before, `tasks_rev` changes.
-- Returns how many parked jobs of these tasks are ready again (at most 1,000 a task; the tick
-- goes on with the rest).

local woken = 0
for i = 2, #ARGV, 2 do
  local name = ARGV[i]
  local says = ARGV[i + 1] .. ',"announced_at":'
  if string.sub(redis.call('HGET', P .. 'tasks', name) or '', 1, #says) ~= says then
    redis.call('SET', P .. 'tasks_rev', random48())
  end
  redis.call('HSET', P .. 'tasks', name, says .. '"' .. iso(now()) .. '"}')
  local parked = P .. 'parked:task:' .. name
  for _, id in ipairs(redis.call('ZRANGE', parked, 0, 999)) do
    local job = load_job(id)
    redis.call('ZREM', parked, id)
    if job.id then
      set_parked(job, false)
      make_ready(job, true)
      woken = woken + 1
    end
  end
end
return woken
