-- relayed: removes outbox entries that the log has acknowledged; only the owner of the relay's lease may.
-- KEYS: meta outbox relay
-- ARGV: owner, bytes that the entries counted, gap that was told, entry id...
-- RETURNS: how many were removed, or -1 when the caller is not the owner
-- IDEMPOTENT: yes

if redis.call('GET', RELAY) ~= ARGV[1] then return -1 end
local removed = #ARGV > 3 and redis.call('XDEL', OUTBOX, unpack(ARGV, 4)) or 0
if removed > 0 and redis.call('HINCRBY', META, 'outbox_bytes', -tonumber(ARGV[2])) < 0 then
  redis.call('HSET', META, 'outbox_bytes', 0)
end
if tonumber(ARGV[3]) > 0 then redis.call('HINCRBY', META, 'outbox_gap', -tonumber(ARGV[3])) end
if redis.call('XLEN', OUTBOX) == 0 then redis.call('HSET', META, 'outbox_bytes', 0) end
return removed
