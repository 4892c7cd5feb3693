-- start: dispatched tasks begin to run; the attempt is counted here.
-- KEYS: meta tasks records errors scheduled parked held dispatched startby cancelling succeeded dead cancelled expired tenants vtime running idem idemexp outbox wake wake_tend lanes*
-- ARGV: conf, incarnation (8 bytes), items (c14 d: id, fence)
-- RETURNS: {'ok', now, codes}: one byte per item: 0 refused, 1 runs, 2 runs already, 3 too late (now expired)
--   codes is followed by the attempt of each item, H each
-- IDEMPOTENT: yes, by fence
-- USES: base record outbox lanes finish

local stop = load_conf(ARGV[1])
if stop then return stop end
begin_freeing()
local inc, blob = ARGV[2], ARGV[3]
local n = math.floor(#blob / (ID + 8))
local ids, fences = {}, {}
for i = 1, n do ids[i], fences[i] = struct.unpack('>c14d', blob, (i - 1) * (ID + 8) + 1) end
local raws = hash_many(RECORDS, ids)
local codes, attempts, seen = {}, {}, {}
for i = 1, n do
  local id, rec = ids[i], raws[i] and rec_unpack(raws[i])
  local code = 0
  if rec and rec.fence == fences[i] and rec.holder == inc then
    if seen[id] or rec.state == RUNNING then
      code = seen[id] == 3 and 3 or 2
    elseif rec.state == DISPATCHED then
      local raw = has(rec.flags, F_STARTBY) and call('HGET', TASKS, id)
      local e = raw and env_unpack(raw)
      if e and e.submitted + e.startby <= now then
        unhold(id, rec)
        finish(id, rec, EXPIRED)
        code = 3
      else
        undispatched[#undispatched + 1] = id
        if e then
          unstartby[#unstartby + 1] = id
          rec.flags = without(rec.flags, F_STARTBY)
        end
        rec.state = RUNNING
        rec.flags = rec.flags % F_LATE
        rec.since, rec.started = now, now
        rec.attempts = rec.attempts + 1
        write_record(id, rec)
        code = 1
      end
      seen[id] = code
    end
  end
  codes[i] = string.char(code)
  attempts[i] = struct.pack('>H', rec and rec.attempts or 0)
end
local ready, freed = finish_flush()
wake(math.max(ready, math.min(1, freed)))
return {'ok', now, table.concat(codes) .. table.concat(attempts)}
