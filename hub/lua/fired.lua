#!lua flags=allow-oom
-- KEYS 1 prefix
-- ARGV 1 seed · 2 name · 3 the firing that was due, ms · 4 the next one, or "" for no more of this schedule
-- Returns 1, or 0 when somebody was faster or it was announced anew.

local dues = P .. 'schedules'
if tonumber(redis.call('ZSCORE', dues, ARGV[2]) or '-1') ~= tonumber(ARGV[3]) then
  return 0
end
if ARGV[4] ~= '' then
  redis.call('ZADD', dues, ARGV[4], ARGV[2])
else
  redis.call('ZREM', dues, ARGV[2])
  redis.call('HDEL', P .. 'schedule_specs', ARGV[2])
end
return 1
