-- cancel: ends tasks that wait; a running task is asked to stop, and its worker confirms.
-- KEYS: meta tasks records errors scheduled parked held dispatched startby cancelling succeeded dead cancelled expired tenants vtime running idem idemexp outbox wake wake_tend lanes*
-- ARGV: conf, id...
-- RETURNS: {'ok', now, code per id: cancelled, requested, ended (it has ended already) or unknown}
-- IDEMPOTENT: yes
-- USES: base record packed outbox lanes running finish

local stop = load_conf(ARGV[1])
if stop then return stop end
begin_freeing()
local ids = {unpack(ARGV, 2)}
local envelopes, records = hash_many(TASKS, ids), hash_many(RECORDS, ids)
local codes, requested, seen = {}, {}, {}
for i, id in ipairs(ids) do
  local rec = records[i] and rec_unpack(records[i])
  local e = envelopes[i] and env_unpack(envelopes[i])
  local code = 'cancelled'
  if seen[id] then
    code = seen[id]
  elseif not e then
    code = 'unknown'
  elseif rec and SETS[rec.state] then
    heal(id, rec)
    withdraw(id, rec, e)
    code = rec.state == CANCELLED and 'cancelled' or 'ended'
  elseif rec and rec.state == RUNNING then
    if not has(rec.flags, F_CANCEL) then
      rec.flags = with(rec.flags, F_CANCEL)
      requested[#requested + 1] = id
      write_record(id, rec)
    end
    code = 'requested'
  else
    if rec and rec.state == DISPATCHED then
      unhold(id, rec)
    else
      withdraw(id, rec, e)
    end
    if rec then rec.holder = NOBODY end
    finish(id, rec or rec_fresh(e, QUEUED, 0), CANCELLED)
  end
  seen[id] = code
  codes[i] = code
end
call_many('SADD', CANCELLING, requested)
local ready, freed = finish_flush()
wake(math.max(ready, math.min(1, freed))) -- a credit came free
return {'ok', now, unpack(codes)}
