-- KEYS 1 prefix
-- ARGV 1 seed · 2 session id · 3 user | agent · 4 message id · 5 text (JSON string) · 6 job id or ""
--      7 id for the agent's turn, or "" for none · 8 scopes of the speaker, space-separated
-- Returns {"ok", cursor} · {"done", ""} when this message was said before

local turn = AGENT and ARGV[7] ~= '' and ARGV[7] or nil
local cursor = say(ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6] ~= '' and ARGV[6] or nil, turn)
if not cursor then
  return {'done', ''}
end
if turn then
  create({id = turn, session_id = ARGV[2], task = 'agent.turn', queue = 'agent', priority = '5', timeout = '120',
    max_attempts = '5', params = '{"message_id":"' .. ARGV[4] .. '","cursor":"' .. cursor .. '","may":"' .. ARGV[8] .. '"}',
    reply_id = 're.' .. ARGV[4]})
end
return {'ok', cursor}
