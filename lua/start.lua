-- start: dispatched tasks begin to run, and the attempt is counted; what their worker has ended before is settled first.
-- KEYS: meta tasks records errors results scheduled parked held dispatched startby cancelling succeeded dead cancelled expired tenants vtime running idem idemexp outbox wake wake_tend workers lanes*
-- ARGV: conf, incarnation (8 bytes), items (c14 d: id, fence), settlements (as in settle; may be ''), data...
-- RETURNS: {'ok', now, codes}: one byte per item: 0 refused, 1 runs, 2 runs already, 3 too late (now expired)
--   codes is followed by the attempt of each item, H each; then index, code for each settlement that was not accepted
-- IDEMPOTENT: yes, by fence
-- USES: base record packed outbox lanes running finish settle credits

local stop = load_conf(ARGV[1])
if stop then return stop end
begin_freeing()
local inc, blob = ARGV[2], ARGV[3]
-- (Written at once: a task that is settled here is not found running below.)
local refused, ready, freed = {}, 0, 0
if ARGV[4] ~= '' then
  refused = settle_batch(inc, ARGV[4], 5)
  ready, freed = settle_flush()
end
local n = math.floor(#blob / (ID + 8))
local ITEM_SIZE = ID + 8
local ids = {}
for i = 1, n do
  local at = (i - 1) * ITEM_SIZE
  ids[i] = string.sub(blob, at + 1, at + ID)
end
local raws = hash_many(RECORDS, ids)
local codes, attempts, seen = {}, {}, {}

-- Starts a task, or says why not: the code to answer, and its attempts.
local function start_one(id, rec, fence)
  if not rec or rec.fence ~= fence or rec.holder ~= inc then return 0, rec and rec.attempts or 0 end
  if seen[id] or rec.state == RUNNING then return seen[id] == 3 and 3 or 2, rec.attempts end
  if rec.state ~= DISPATCHED then return 0, rec.attempts end
  local raw = has(rec.flags, F_STARTBY) and call('HGET', TASKS, id)
  local e = raw and env_unpack(raw)
  if e and e.submitted + e.startby <= now then
    unhold(id, rec)
    finish(id, rec, EXPIRED)
    return 3, rec.attempts
  end
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
  return 1, rec.attempts
end

-- The records of plain tasks that were dispatched together are equal, and so is what becomes of them.
local plain, begun, told = {}, {}, {}

for i = 1, n do
  local id, raw = ids[i], raws[i]
  local packed = sub(blob, i * ITEM_SIZE - 7, i * ITEM_SIZE)
  if raw and plain[raw] ~= packed and rec_plainly(raw, DISPATCHED, packed, inc) then
    plain[raw], begun[raw], told[raw] = packed, rec_begun(raw), pack('>H', rec_attempts(raw) + 1)
  end
  if raw and plain[raw] == packed and not seen[id] then
    undispatched[#undispatched + 1] = id
    write_packed(id, begun[raw])
    seen[id] = 1
    codes[i], attempts[i] = '\1', told[raw]
  else
    local code, attempt = start_one(id, raw and rec_unpack(raw), struct.unpack('>d', packed))
    if code == 1 or code == 3 then seen[id] = code end
    codes[i] = string.char(code)
    attempts[i] = struct.pack('>H', attempt)
  end
end
local more_ready, more_freed = finish_flush()
wake_for_freed(inc, ready + more_ready, freed + more_freed)
return {'ok', now, table.concat(codes) .. table.concat(attempts), unpack(refused)}
