-- finish: the ends of a task, and what an end sets free.
-- KEYS: tasks records errors held dispatched startby cancelling succeeded dead cancelled expired idem idemexp wake_tend

local SETS = {[SUCCEEDED] = SUCCEEDED_SET, [DEAD] = DEAD_SET, [CANCELLED] = CANCELLED_SET, [EXPIRED] = EXPIRED_SET}
local KINDS = {[SUCCEEDED] = 'succeeded', [DEAD] = 'dead', [CANCELLED] = 'cancelled', [EXPIRED] = 'expired'}
local ERRORS_KEPT = 60000 -- bytes of errors kept for one task; the oldest go first

local record_writes, final_adds, schedule_adds_, error_writes = {}, {}, {}, {}
local unheld, undispatched, unstartby, uncancelling = {}, {}, {}, {}
local freed_tenants, done_ids, idem_ends = {}, {}, {}
local leave = {parked = {}, scheduled = {}, lanes = {}} -- the places that waiting tasks leave, once their record says so
local revived = {keys = {}, writes = {}}                -- idempotency keys that live on, and those to be held again
local finished_bytes = 0

local function write_packed(id, packed)
  local n = #record_writes
  record_writes[n + 1] = id
  record_writes[n + 2] = packed
end

local function write_record(id, rec)
  write_packed(id, rec_pack(rec))
end

-- Appends one error (msgpack) to those kept for the task.
local function add_error(id, rec, raw)
  local kept = has(rec.flags, F_ERRORS) and call('HGET', ERRORS, id) or ''
  kept = (kept or '') .. struct.pack('>I4', #raw) .. raw
  while #kept > ERRORS_KEPT do
    local size = struct.unpack('>I4', kept)
    if size + 4 >= #kept then break end
    kept = string.sub(kept, size + 5)
  end
  rec.flags = with(rec.flags, F_ERRORS)
  error_writes[#error_writes + 1] = id
  error_writes[#error_writes + 1] = kept
end

-- Takes a held task from its holder: slot, running counts and marks are freed at the flush.
local function unhold(id, rec)
  unheld[#unheld + 1] = rec.holder .. id
  if rec.state == DISPATCHED then undispatched[#undispatched + 1] = id end
  occupy(rec.lane, rec.tenant, -1)
  freed_tenants[rec.tenant] = true
  if rec.flags ~= 0 and has(rec.flags, F_CANCEL) then uncancelling[#uncancelling + 1] = id end
end

-- From the task's end on, its idempotency key lives for a stated time; unless it was forgotten since, or is
-- another task's now.
local function end_key(id, rec)
  if not has(rec.flags, F_IDEM) then return end
  local raw = call('HGET', TASKS, id)
  local e = raw and env_unpack(raw)
  local holder = e and e.idem_key and call('HGET', IDEM, e.idem_key)
  if holder and string.sub(holder, 1, ID) == id then
    idem_ends[#idem_ends + 1] = rec.since + conf.idem_ms
    idem_ends[#idem_ends + 1] = e.idem_key
  end
end

-- Brings a task to one of its ends.
local function finish(id, rec, state)
  freed_tenants[rec.tenant] = true -- (one that was unparked and has not run yet made room as well)
  rec.state = state
  rec.since = now
  if rec.flags ~= 0 then rec.flags = without(without(rec.flags, F_CANCEL), F_SUSPECT) end
  write_record(id, rec)
  local adds = final_adds[state]
  if not adds then
    adds = {}
    final_adds[state] = adds
  end
  adds[#adds + 1] = now_text
  adds[#adds + 1] = id
  if rec.flags ~= 0 then
    if has(rec.flags, F_STARTBY) then unstartby[#unstartby + 1] = id end
    end_key(id, rec)
  end
  if state ~= DEAD then finished_bytes = finished_bytes + rec.size end -- (dead letters are kept by their own rule)
  done_ids[state] = done_ids[state] or {}
  done_ids[state][#done_ids[state] + 1] = id
  emit(KINDS[state], id, rec.lane, rec.attempts)
end

-- What unhold and finish do for a task that ran plainly and has succeeded, on its packed record.
local function succeed_plainly(id, raw, holder)
  local lane_n = byte(raw, 3)
  local tenant = sub(raw, 52)
  write_packed(id, rec_moved(raw, SUCCEEDED))
  local adds, ids = final_adds[SUCCEEDED], done_ids[SUCCEEDED]
  if not adds then
    adds = {}
    final_adds[SUCCEEDED] = adds
  end
  if not ids then
    ids = {}
    done_ids[SUCCEEDED] = ids
  end
  local n = #ids
  ids[n + 1] = id
  n = #adds
  adds[n + 1] = now_text
  adds[n + 2] = id
  unheld[#unheld + 1] = holder .. id
  occupy(lane_n, tenant, -1)
  freed_tenants[tenant] = true
  finished_bytes = finished_bytes + unpacked('>I4', raw, 8)
  emit('succeeded', id, lane_n, rec_attempts(raw))
end

-- Sends a task to wait until DUE (ms).
local function schedule(id, rec, due)
  rec.state = SCHEDULED
  rec.since = now
  write_record(id, rec)
  schedule_adds_[#schedule_adds_ + 1] = due
  schedule_adds_[#schedule_adds_ + 1] = id
end

-- Sends a task back to where it waited, with the score it had. Nobody holds it then.
local function requeue(id, rec)
  rec.since = now
  rec.holder = NOBODY
  rec.score = restored(rec.lane, rec.score)
  rec.state = place(id, rec.lane, rec.score, rec.tenant, rec)
  if rec.state == QUEUED then write_record(id, rec) end
end

-- A task that a call failed to finish half-way: its record is final, its sets follow.
local function heal(id, rec)
  local adds = final_adds[rec.state]
  if not SETS[rec.state] then return end
  if not adds then
    adds = {}
    final_adds[rec.state] = adds
  end
  adds[#adds + 1] = rec.since
  adds[#adds + 1] = id
  uncancelling[#uncancelling + 1] = id
  end_key(id, rec)
end

mend = function(id, rec)
  if SETS[rec.state] then call('ZADD', SETS[rec.state], rec.since, id) end
end

-- A waiting task (REC may be nil for a fresh one, E its envelope's head) leaves wherever it waits. One that has ended
-- may still stand where it waited, when the call that ended it failed half-way.
local function withdraw(id, rec, e)
  local lane_n = rec and rec.lane or e.lane
  if rec and (rec.state == PARKED or SETS[rec.state]) then
    leave.parked[#leave.parked + 1] = park_member(rec.tenant, rec.lane, rec.score, id)
  end
  if not (rec and rec.state == PARKED) and lane_by_n[lane_n] then
    leave.lanes[lane_n] = leave.lanes[lane_n] or {}
    table.insert(leave.lanes[lane_n], id)
  end
  leave.scheduled[#leave.scheduled + 1] = id
end

-- Takes back a task from a holder that is gone (CRASHED: it was running with others and none is proven
-- guilty) or that never started it.
local function give_back(id, rec, crashed)
  local was_running = rec.state == RUNNING
  unhold(id, rec)
  if has(rec.flags, F_CANCEL) then return finish(id, rec, CANCELLED) end
  if was_running and crashed then
    rec.crashes = math.min(255, rec.crashes + 1)
    rec.flags = with(rec.flags, F_SUSPECT)
    add_error(id, rec, crashed)
    local max = rec.max > 0 and rec.max or conf.max_attempts
    if rec.attempts >= max and rec.crashes >= conf.max_crashes then return finish(id, rec, DEAD) end
    emit('crashed', id, rec.lane, rec.attempts)
  elseif was_running then
    rec.attempts = math.max(0, rec.attempts - 1)
    emit('released', id, rec.lane, rec.attempts)
  else
    emit('released', id, rec.lane, rec.attempts)
  end
  requeue(id, rec)
end

-- Writes what this call has gathered, in the order that makes a call that fails half-way safe to repeat:
-- events, places to wait in, records (the truth), the sets of ended tasks, and only then what they leave.
-- Returns how many tasks became ready to go, and how many were taken from a holder.
local function finish_flush()
  emit_flush()
  call_many('HSET', IDEM, revived.writes)
  call_many('ZREM', IDEMEXP, revived.keys)
  call_many('HSET', ERRORS, error_writes)
  call_many('ZADD', SCHEDULED_SET, schedule_adds_)
  local ready = place_flush()
  call_many('HSET', RECORDS, record_writes)
  for state, adds in pairs(final_adds) do call_many('ZADD', SETS[state], adds) end
  call_many('ZADD', IDEMEXP, idem_ends)
  call_many('ZREM', PARKED_SET, leave.parked)
  for lane_n, ids in pairs(leave.lanes) do call_many('ZREM', lane_by_n[lane_n].key, ids) end
  call_many('ZREM', SCHEDULED_SET, leave.scheduled)
  call_many('ZREM', HELD, unheld)
  call_many('ZREM', DISPATCHED_SET, undispatched)
  call_many('ZREM', STARTBY_SET, unstartby) -- (after the places: by this a later promotion finds them again)
  call_many('SREM', CANCELLING, uncancelling)
  occupy_flush()
  ready = ready + unpark_all(freed_tenants)
  if finished_bytes ~= 0 then call('HINCRBY', META, 'finished_bytes', finished_bytes) end
  for state, ids in pairs(done_ids) do call('PUBLISH', META .. ':done', string.char(state) .. table.concat(ids)) end
  -- A retry may be due before the poller looks again.
  if #schedule_adds_ > 0 and call('RPUSH', WAKE_TEND, '1') > 4 then call('LTRIM', WAKE_TEND, 0, 3) end
  local freed = #unheld
  record_writes, final_adds, schedule_adds_, error_writes = {}, {}, {}, {}
  leave, revived = {parked = {}, scheduled = {}, lanes = {}}, {keys = {}, writes = {}}
  unheld, undispatched, unstartby, uncancelling = {}, {}, {}, {}
  freed_tenants, done_ids, idem_ends, finished_bytes = {}, {}, {}, 0
  return ready, freed
end
