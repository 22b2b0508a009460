#!lua flags=allow-oom
-- KEYS 1 prefix
-- ARGV 1 seed · 2 job id · 3 token · 4 completed | failed | cancelled
--      5 result, or error (JSON) or "" · 6 traceback (JSON string) or ""
-- Returns {"ok" | "done" | "stale", status now or ""} · {"refused", status}

return finish(ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6])
