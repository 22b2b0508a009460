#!lua flags=allow-oom
-- KEYS 1 prefix
-- ARGV 1 seed · 2… of each job: id, token, completed | failed | cancelled, result or error or "", traceback or ""
-- Returns for each what `finish` does, or {"broken", message} for one that cannot be ended: it must not stop the others.

local out = {}
for i = 2, #ARGV, 5 do
  local well, verdict = pcall(finish, ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4])
  if well then
    out[#out + 1] = verdict
  else
    out[#out + 1] = {'broken', type(verdict) == 'table' and verdict.err or tostring(verdict)}
  end
end
return out
