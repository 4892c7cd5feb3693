-- settle: the outcomes of a batch of running tasks (complete, retry, snooze, dead, cancel, release, expire).
-- KEYS: meta tasks records errors results scheduled parked held dispatched startby cancelling succeeded dead cancelled expired tenants vtime running idem idemexp outbox wake wake_tend workers lanes*
-- ARGV: conf, incarnation (8 bytes), items (B B c14 d d: kind, flags, id, fence, delay ms), data...
-- RETURNS: {'ok', now, index, code, ...} with a code for each item that was not accepted: already, stale
-- IDEMPOTENT: yes, by fence
-- USES: base record packed outbox lanes running finish settle credits

local stop = load_conf(ARGV[1])
if stop then return stop end
begin_freeing()
local refused = settle_batch(ARGV[2], ARGV[3], 4)
local ready, freed = settle_flush()
wake_for_freed(ARGV[2], ready, freed)
return {'ok', now, unpack(refused)}
