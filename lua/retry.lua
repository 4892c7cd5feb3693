-- retry: scheduled tasks join their lanes now, whenever they would have come due.
-- KEYS: meta tasks records errors scheduled parked held dispatched startby cancelling succeeded dead cancelled expired tenants vtime running idem idemexp outbox wake wake_tend lanes*
-- ARGV: conf, id...
-- RETURNS: {'ok', now, code per id: retried, unknown, lane removed, or the name of the state it is in}
-- IDEMPOTENT: yes, but for the code: the second time it is queued already
-- USES: base record packed outbox lanes running finish priority

local stop = load_conf(ARGV[1])
if stop then return stop end
begin_freeing()
local ids = {unpack(ARGV, 2)}
local envelopes, records = hash_many(TASKS, ids), hash_many(RECORDS, ids)
local codes, seen = {}, {}
local names = {'queued', 'scheduled', 'parked', 'dispatched', 'running', 'succeeded', 'dead', 'cancelled', 'expired'}
for i, id in ipairs(ids) do
  local rec = records[i] and rec_unpack(records[i])
  local e = envelopes[i] and env_unpack(envelopes[i])
  local waits = e and (rec and rec.state == SCHEDULED or not rec and call('ZSCORE', SCHEDULED_SET, id))
  local code
  if seen[id] then
    code = seen[id]
  elseif not e then
    code = 'unknown'
  elseif not waits then
    code = rec and names[rec.state] or 'queued'
  elseif not lane_by_n[rec and rec.lane or e.lane] then
    code = 'lane removed'
  else
    code = 'retried'
    leave.scheduled[#leave.scheduled + 1] = id
    rec = rec or rec_fresh(e, SCHEDULED, uncharged(e.prio))
    emit('revised', id, rec.lane, rec.attempts)
    come_due(id, rec, e)
  end
  seen[id] = code
  codes[i] = code
end
wake(finish_flush())
return {'ok', now, unpack(codes)}
