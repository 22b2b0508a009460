-- KEYS 1 prefix
-- ARGV 1 seed · 2… task name, announcement (JSON without its closing brace), …
-- Returns how many parked jobs of these tasks are ready again (at most 1,000 a task; the tick
-- goes on with the rest).

local woken = 0
for i = 2, #ARGV, 2 do
  local name = ARGV[i]
  redis.call('HSET', P .. 'tasks', name, ARGV[i + 1] .. ',"announced_at":"' .. iso(now()) .. '"}')
  local parked = P .. 'parked:task:' .. name
  for _, id in ipairs(redis.call('ZRANGE', parked, 0, 999)) do
    local job = load_job(id)
    redis.call('ZREM', parked, id)
    if job.id then
      write(job, {parked = false})
      make_ready(job, true)
      woken = woken + 1
    end
  end
end
return woken
