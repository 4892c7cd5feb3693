-- lease: one owner at a time of a duty (the relay), for a time.
-- KEYS: relay
-- ARGV: owner, ms (0 gives it up)
-- RETURNS: 1 when the caller is the owner now, else 0
-- IDEMPOTENT: yes

local owner = redis.call('GET', RELAY)
if owner and owner ~= ARGV[1] then return 0 end
if tonumber(ARGV[2]) == 0 then
  redis.call('DEL', RELAY)
  return 0
end
redis.call('DEL', RELAY) -- (a write that frees: a full Redis lets the next one pass)
redis.call('SET', RELAY, ARGV[1], 'PX', ARGV[2])
return 1
