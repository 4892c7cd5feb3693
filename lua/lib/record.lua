-- record: what changes about a task, and the head of what does not.
-- KEYS: records tasks

-- States, as stored. A task without a record is fresh: in its lane, or scheduled.
local QUEUED, SCHEDULED, PARKED, DISPATCHED, RUNNING = 1, 2, 3, 4, 5
local SUCCEEDED, DEAD, CANCELLED, EXPIRED, BLOCKED = 6, 7, 8, 9, 10

-- Flags of a record.
local F_CANCEL, F_SUSPECT, F_IDEM, F_ERRORS, F_RESULT, F_STARTBY = 1, 2, 4, 8, 16, 32
local F_LATE = 64 -- (two bits) how often in a row it was dispatched and not started in time, up to 3
-- Flags of an envelope.
local E_IDEM, E_DELAY, E_AT, E_STARTBY = 1, 2, 4, 8

local NOBODY = string.rep('\0', 8)
local REC = '>BBBBBHI4ddddc8'
local REC_SIZE = 51

-- {state, flags, lane, crashes, max, attempts, size, score, fence, since, started, holder, tenant}; size is in bytes, since
-- (when it came into its state) and started (its last attempt; 0: none yet) in ms
local function rec_unpack(raw)
  local state, flags, lane, crashes, max, attempts, size, score, fence, since, started, holder = struct.unpack(REC, raw)
  return {
    state = state, flags = flags, lane = lane, crashes = crashes, max = max, attempts = attempts, size = size,
    score = score, fence = fence, since = since, started = started, holder = holder,
    tenant = string.sub(raw, REC_SIZE + 1),
  }
end

local function rec_pack(r)
  return struct.pack(REC, r.state, r.flags, r.lane, r.crashes, r.max, r.attempts, r.size, r.score,
    r.fence, r.since, r.started, r.holder) .. r.tenant
end

local function has(flags, flag)
  return bit.band(flags, flag) ~= 0
end

local function with(flags, flag)
  return bit.bor(flags, flag)
end

local function without(flags, flag)
  return bit.band(flags, bit.bnot(flag))
end

-- Reads the head of a stored envelope (OFFSET 0) or of one just sent (OFFSET 6: no submission time yet).
-- Returns nil when it is not an envelope of a known schema. Reads bounded bytes and never raises.
local function env_unpack(raw, offset)
  local skip = 6 - (offset or 0)
  local size = #raw
  if size < skip + 7 then return nil end
  local submitted = skip == 6 and struct.unpack('>I6', raw) or 0
  local schema, flags, lane, prio, max, tenant_len, idem_len = string.byte(raw, skip + 1, skip + 7)
  if schema < 1 or schema > SCHEMA or prio > 9 then return nil end
  local pos = skip + 8
  local when, startby, tenant, idem_print, idem_key = 0, 0, '', nil, nil
  if flags == 0 and idem_len > 0 then return nil end -- (a key that is not flagged would never expire)
  if flags ~= 0 then
    local timed = has(flags, E_DELAY) or has(flags, E_AT)
    if idem_len > 0 ~= has(flags, E_IDEM) then return nil end
    local need = tenant_len + idem_len + (timed and 8 or 0) + (has(flags, E_STARTBY) and 4 or 0)
    if size < pos - 1 + need or (has(flags, E_IDEM) and idem_len < 9) then return nil end
    if timed then
      when = struct.unpack('>d', raw, pos)
      pos = pos + 8
      if when ~= when or when < 0 or when > 9007199254740992 then return nil end
    end
    if has(flags, E_STARTBY) then
      startby = struct.unpack('>I4', raw, pos)
      pos = pos + 4
    end
  elseif size < pos - 1 + tenant_len then
    return nil
  end
  if tenant_len > 0 then
    tenant = string.sub(raw, pos, pos + tenant_len - 1)
    -- A zero byte ends the tenant's name in keys and among the parked: with one inside, tenants could be mixed up.
    if string.find(tenant, '\0', 1, true) then return nil end
  end
  if idem_len > 0 then
    idem_print = string.sub(raw, pos + tenant_len, pos + tenant_len + 7)
    idem_key = tenant .. '\0' .. string.sub(raw, pos + tenant_len + 8, pos + tenant_len + idem_len - 1)
  end
  return {
    submitted = submitted, size = size + 6 - skip, flags = flags, lane = lane, prio = prio, max = max, when = when,
    startby = startby, tail = pos, tenant = tenant, idem_print = idem_print, idem_key = idem_key,
  }
end

-- The record of a task that never had one, from its envelope's head.
local function rec_fresh(e, state, score)
  local flags = 0
  if e.flags ~= 0 then
    if has(e.flags, E_IDEM) then flags = with(flags, F_IDEM) end
    if has(e.flags, E_STARTBY) then flags = with(flags, F_STARTBY) end
  end
  return {
    state = state, flags = flags, lane = e.lane, crashes = 0, max = e.max, attempts = 0, size = e.size,
    score = score, fence = 0, since = now, started = 0, holder = NOBODY, tenant = e.tenant,
  }
end
