-- deregister: an incarnation ends; what it still holds goes back in the same script, with no attempt burnt.
-- KEYS: meta tasks records errors scheduled parked held dispatched startby cancelling succeeded dead cancelled expired tenants vtime running idem idemexp outbox wake wake_tend workers beats partitions replies lanes*
-- ARGV: conf, incarnation (8 bytes), page
-- RETURNS: {'ok' | 'more' (call again), now, returned}
-- IDEMPOTENT: yes
-- USES: base record packed outbox lanes running finish slots farewell

local stop = load_conf(ARGV[1])
if stop then return stop end
begin_freeing()
local returned, more = farewell(ARGV[2], tonumber(ARGV[3]), false)
return {more and 'more' or 'ok', now, returned}
