-- KEYS 1 prefix
-- ARGV 1 seed · 2 job id · 3 token · 4 input id · 5 the input's JSON members (no braces, no asked_at)
-- Returns {"ok" | "done" | "stale", status now or ""} · {"answered", value} when it was answered
--         before a crash · {"busy", id of the open question} · {"ok", "cancelled"} when cancelling

local job, input_id = load_job(ARGV[2]), ARGV[4]
local refused = refusal(job, ARGV[3], 'ask')
if refused then
  return {refused, job.status or ''}
end
if job.status == 'cancelling' then
  move(job, 'cancelled', unlease(job, 'ask', {}))
  return {'ok', 'cancelled'}
end
local answer = redis.call('HGET', P .. 'memo:' .. job.id, 'answer:' .. input_id)
if answer then
  return {'answered', answer}
elseif job.input_id == input_id then
  return {'done', job.status}
elseif job.input_id then
  return {'busy', job.input_id}
end
move(job, 'input_required', {input_id = input_id, input = '{' .. ARGV[5] .. ',"asked_at":"' .. iso(now()) .. '"}'})
return {'ok', 'input_required'}
