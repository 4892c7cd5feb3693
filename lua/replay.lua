-- replay: dead, cancelled or expired tasks are queued again, with their attempts counted anew and their errors kept.
-- KEYS: meta tasks records errors scheduled parked held dispatched startby cancelling succeeded dead cancelled expired tenants vtime running idem idemexp outbox wake wake_tend lanes*
-- ARGV: conf, id...
-- RETURNS: {'ok', now, code per id: queued, unknown, or the name of the state that cannot be replayed}
-- IDEMPOTENT: yes
-- USES: base record packed outbox lanes running finish priority

local stop = load_conf(ARGV[1])
if stop then return stop end
local ids = {unpack(ARGV, 2)}
local envelopes, records = hash_many(TASKS, ids), hash_many(RECORDS, ids)
local codes, seen = {}, {}
local names = {'queued', 'scheduled', 'parked', 'dispatched', 'running', 'succeeded', 'dead', 'cancelled', 'expired'}
for i, id in ipairs(ids) do
  local rec = records[i] and rec_unpack(records[i])
  local e = envelopes[i] and env_unpack(envelopes[i])
  if not e or seen[id] then
    codes[i] = seen[id] and 'queued' or 'unknown'
  elseif not rec or not (rec.state == DEAD or rec.state == CANCELLED or rec.state == EXPIRED) then
    codes[i] = rec and names[rec.state] or (call('ZSCORE', SCHEDULED_SET, id) and 'scheduled' or 'queued')
  elseif not lane_by_n[rec.lane] then
    codes[i] = 'lane removed'
  else
    local set = SETS[rec.state]
    final_leaves[set] = final_leaves[set] or {}
    table.insert(final_leaves[set], id)
    -- Its key lives on; if it was forgotten meanwhile it is held again, and if another task has it, it stays theirs.
    if e.idem_key then
      local holder = call('HGET', IDEM, e.idem_key)
      if not holder then
        table.insert(revived.writes, e.idem_key)
        table.insert(revived.writes, id .. e.idem_print)
      elseif string.sub(holder, 1, ID) == id then
        table.insert(revived.keys, e.idem_key)
      end
    end
    uncancelling[#uncancelling + 1] = id
    rec.flags = without(rec.flags, F_STARTBY)
    rec.attempts, rec.crashes, rec.since, rec.holder = 0, 0, now, NOBODY
    if rec.state ~= DEAD then finished_bytes = finished_bytes - rec.size end
    rec.score = charge(rec.lane, prio_now(rec, e), rec.tenant)
    rec.state = place(id, rec.lane, rec.score, rec.tenant, rec)
    if rec.state == QUEUED then write_record(id, rec) end
    emit('replayed', id, rec.lane, 0)
    seen[id] = true
    codes[i] = 'queued'
  end
end
wake(finish_flush())
return {'ok', now, unpack(codes)}
