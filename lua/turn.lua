-- turn: settles a worker's last batch and claims its next, in one call (the hot path of the direct source).
-- KEYS: meta tasks records errors results scheduled parked held dispatched startby cancelling succeeded dead cancelled expired tenants vtime running buckets workers replies idem idemexp outbox wake wake_tend lanes*
-- ARGV: conf, incarnation (8 bytes), request number, want, settlements (as in settle), data...
-- RETURNS: as claim; the fourth element says how many elements of refused settlements (index, code) come first
-- IDEMPOTENT: yes: settlements by fence, the claim by request number
-- USES: base record packed outbox lanes running buckets finish settle claim

local stop = load_conf(ARGV[1])
if stop then return stop end
begin_freeing()
local refused = settle_batch(ARGV[2], ARGV[5], 6)
local ready, freed = settle_flush()
local want = tonumber(ARGV[4])
local status, heads, envelopes = claim_direct(ARGV[2], tonumber(ARGV[3]), want)
ready = ready - #claimed
-- Slots that this worker does not fill itself may be what others wait for (a lane at its limit).
if #claimed == 0 and freed > 0 and ready <= 0 and work_left() then ready = 1 end
wake(ready)
local reply = {status or 'ok', now, soonest or -1, #refused, unpack(refused)}
local at = #reply + 1
reply[at] = heads
for i = 1, #envelopes do reply[at + i] = envelopes[i] end
return reply
