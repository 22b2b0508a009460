-- KEYS 1 prefix
-- ARGV 1 seed · 2 tasks of the caller, ",a,b," · 3… name, task, schedule (JSON), next firing ms or "", …
-- These are the schedules of these tasks from now on. One that is the same keeps its next firing: it may be
-- due. Returns how many are new or changed.

local specs, dues = P .. 'schedule_specs', P .. 'schedules'
local said, changed = {}, 0
for i = 3, #ARGV, 4 do
  local name, spec = ARGV[i], ARGV[i + 1] .. ' ' .. ARGV[i + 2]
  said[name] = true
  if redis.call('HGET', specs, name) ~= spec or not redis.call('ZSCORE', dues, name) then
    redis.call('HSET', specs, name, spec)
    redis.call('ZREM', dues, name)
    if ARGV[i + 3] ~= '' then
      redis.call('ZADD', dues, ARGV[i + 3], name)
    end
    changed = changed + 1
  end
end
local known = redis.call('HGETALL', specs)
for i = 1, #known, 2 do
  local task = string.match(known[i + 1], '^%S+')
  if not said[known[i]] and string.find(ARGV[2], ',' .. task .. ',', 1, true) then
    redis.call('HDEL', specs, known[i])
    redis.call('ZREM', dues, known[i])
  end
end
return changed
