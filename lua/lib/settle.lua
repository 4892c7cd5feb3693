-- settle: one worker's settlements of a batch, each accepted once, from the holder with the current fence.
-- KEYS: results

local COMPLETE, RETRY, SNOOZE, KILL, CANCEL, RELEASE, EXPIRE = 1, 2, 3, 4, 5, 6, 7
local S_DATA, S_CRASH = 1, 2 -- flags: a result or error follows as an argument; the task's own process died
local ITEM = '>BBc14dd'
local ITEM_SIZE = 32

local result_writes = {}

local function settle_one(id, rec, kind, flags, delay, data)
  unhold(id, rec)
  if kind == COMPLETE then
    if data then
      rec.flags = with(rec.flags, F_RESULT)
      rec.size = rec.size + #data
      result_writes[#result_writes + 1] = id
      result_writes[#result_writes + 1] = data
    end
    return finish(id, rec, SUCCEEDED)
  end
  if data then add_error(id, rec, data) end
  if has(flags, S_CRASH) then
    rec.crashes = math.min(255, rec.crashes + 1)
    rec.flags = with(rec.flags, F_SUSPECT)
  end
  local cancel = has(rec.flags, F_CANCEL)
  if kind == CANCEL or (cancel and (kind == RETRY or kind == SNOOZE or kind == RELEASE)) then
    return finish(id, rec, CANCELLED)
  end
  if kind == EXPIRE then return finish(id, rec, EXPIRED) end
  if kind == KILL or (kind == RETRY and rec.max > 0 and rec.attempts >= rec.max) then return finish(id, rec, DEAD) end
  if kind == RETRY then
    emit('retried', id, rec.lane, rec.attempts)
    return schedule(id, rec, now + delay)
  end
  if rec.state == RUNNING then rec.attempts = math.max(0, rec.attempts - 1) end
  if kind == SNOOZE then
    emit('snoozed', id, rec.lane, rec.attempts)
    return schedule(id, rec, now + delay)
  end
  emit('released', id, rec.lane, rec.attempts)
  return requeue(id, rec)
end

-- Applies one settlement, or returns why it is not accepted. DONE: the ids that this call has settled.
local function settle_item(inc, id, raw, fence, kind, flags, delay, data, done)
  local rec = raw and rec_unpack(raw)
  if not rec or rec.fence ~= fence or rec.holder ~= inc then return 'stale' end
  if done[id] then return 'already' end
  if rec.state == RUNNING or (rec.state == DISPATCHED and kind == RELEASE) then
    done[id] = true
    settle_one(id, rec, kind, flags, delay, data)
    return nil
  end
  -- Redis forgot the start (it came back without its last second): the deadline returns the task.
  if rec.state == DISPATCHED then return 'stale' end
  heal(id, rec)
  unheld[#unheld + 1] = inc .. id
  uncancelling[#uncancelling + 1] = id
  return 'already'
end

-- Applies the settlements in BLOB (items of kind, flags, id, fence, delay in ms as B B c14 d d); the data of
-- those that carry any are ARGV from DATA_AT on. Returns {index, code, ...} for what was not accepted:
-- already (this settlement is in force) or stale (the task is not the caller's any more).
local function settle_batch(inc, blob, data_at)
  local n = math.floor(#blob / ITEM_SIZE)
  local ids = {}
  for i = 1, n do
    local at = (i - 1) * ITEM_SIZE
    ids[i] = sub(blob, at + 3, at + 16)
  end
  local raws = hash_many(RECORDS, ids)
  local refused, done = {}, {}
  for i = 1, n do
    local id, raw, at = ids[i], raws[i], (i - 1) * ITEM_SIZE
    local kind, flags = byte(blob, at + 1, at + 2)
    if kind == COMPLETE and flags == 0 and raw and not done[id]
      and rec_plainly(raw, RUNNING, sub(blob, at + 17, at + 24), inc) then
      done[id] = true
      succeed_plainly(id, raw, inc)
    else
      local _, _, _, fence, delay = struct.unpack(ITEM, blob, at + 1)
      if not (delay >= 0) then delay = 0 end -- (not a number would fail half-way)
      delay = math.min(delay, 1e15)
      local data = nil
      if has(flags, S_DATA) then
        data = ARGV[data_at]
        data_at = data_at + 1
      end
      local code = settle_item(inc, id, raw, fence, kind, flags, delay, data, done)
      if code then
        refused[#refused + 1] = i
        refused[#refused + 1] = code
      end
    end
  end
  return refused
end

-- Results go first: a record that says succeeded has its result.
local function settle_flush()
  call_many('HSET', RESULTS, result_writes)
  result_writes = {}
  return finish_flush()
end
