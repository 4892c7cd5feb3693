-- claim: a worker takes tasks for its free slots from Redis itself; they start at once, so each counts an attempt.
-- KEYS: meta tasks records errors scheduled parked held dispatched startby cancelling succeeded dead cancelled expired tenants vtime running buckets workers replies idem idemexp outbox wake wake_tend lanes*
-- ARGV: conf, incarnation (8 bytes), request number, want
-- RETURNS: {'ok' | 'draining' | 'gone' | 'late', now, ms until a lane at its rate may be asked again or -1, 0,
--   heads (c14 d H B B for each task: id, fence, attempt, crashes, flags), then per task: stored envelope}
-- IDEMPOTENT: yes, by request number
-- USES: base record packed outbox lanes running buckets finish claim

local stop = load_conf(ARGV[1])
if stop then return stop end
begin_freeing()
local status, heads, envelopes = claim_direct(ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]))
local reply = {status or 'ok', now, soonest or -1, 0, heads}
for i = 1, #envelopes do reply[5 + i] = envelopes[i] end
return reply
