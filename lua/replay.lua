-- replay: dead, cancelled or expired tasks are queued again, with their attempts counted anew and their errors kept.
-- KEYS: meta conf tasks records errors scheduled parked held dispatched startby cancelling succeeded dead cancelled expired tenants vtime running idem idemexp outbox wake wake_tend lanes*
-- ARGV: conf, id...
-- RETURNS: {'ok', now, code per id: queued, unknown, or the name of the state that cannot be replayed}
-- IDEMPOTENT: yes
-- USES: base record outbox lanes finish

local stop = load_conf(ARGV[1])
if stop then return stop end
local ids = {unpack(ARGV, 2)}
local envelopes, records = hash_many(TASKS, ids), hash_many(RECORDS, ids)
local codes, moved, keys, seen = {}, {}, {}, {}
local names = {'queued', 'scheduled', 'parked', 'dispatched', 'running', 'succeeded', 'dead', 'cancelled', 'expired'}
for i, id in ipairs(ids) do
  local rec = records[i] and rec_unpack(records[i])
  local e = envelopes[i] and env_unpack(envelopes[i])
  if not e or seen[id] then
    codes[i] = seen[id] and 'queued' or 'unknown'
  elseif not rec or not (rec.state == DEAD or rec.state == CANCELLED or rec.state == EXPIRED) then
    codes[i] = rec and names[rec.state] or 'queued'
  elseif not lane_by_n[rec.lane] then
    codes[i] = 'lane removed'
  else
    local set = SETS[rec.state]
    moved[set] = moved[set] or {}
    table.insert(moved[set], id)
    if e.idem_key then keys[#keys + 1] = e.idem_key end
    rec.flags = without(rec.flags, F_STARTBY)
    rec.attempts, rec.crashes, rec.since, rec.holder = 0, 0, now, NOBODY
    finished_bytes = finished_bytes - rec.size
    rec.score = charge(rec.lane, e.prio, rec.tenant)
    rec.state = place(id, rec.lane, rec.score, rec.tenant, rec)
    if rec.state == QUEUED then write_record(id, rec) end
    emit('replayed', id, rec.lane, 0)
    seen[id] = true
    codes[i] = 'queued'
  end
end
if finished_bytes < 0 then call('HINCRBY', META, 'finished_bytes', finished_bytes) end
local ready = finish_flush()
for set, members in pairs(moved) do call_many('ZREM', set, members) end
call_many('ZREM', IDEMEXP, keys)
wake(ready)
return {'ok', now, unpack(codes)}
