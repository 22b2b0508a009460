-- KEYS 1 prefix
-- ARGV 1 seed · 2 session id · 3 message id · 4 text so far (JSON string)
-- Tells of a message that is still being written; nothing is kept. Returns 1.

redis.call('SPUBLISH', P .. 'live:' .. ARGV[2], 'P ' .. ARGV[3] .. ' 0\n{"type":"message.partial","session_id":"' ..
  ARGV[2] .. '","time":"' .. iso(now()) .. '","data":{"message_id":"' .. ARGV[3] .. '","text":' .. ARGV[4] .. '}}')
return 1
