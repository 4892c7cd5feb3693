-- claim: the best eligible tasks, in priority order, for slots that are free.
-- KEYS: workers held replies
-- Lanes below their minimum share of the occupied slots go first, then all lanes by priority. A lane that is
-- paused, at its limit or out of tokens is passed over; a tenant at its limit has its tasks parked.

local soonest = nil -- ms until a lane that was passed over for its rate may be asked again
local claimed, claimed_raws, claimed_by = {}, {}, {} -- per task taken: head, stored envelope, holder
local registration, held_of, claim_batch, claim_flush, work_left, claim_direct
do
local registration_cache = {}

-- A worker's registration: {n = name, s = slots, w = window, st = state, p = partition, m = mode, ...} or nil.
function registration(inc)
  local r = registration_cache[inc]
  if r == nil then
    local raw = call('HGET', WORKERS, inc)
    r = raw and cmsgpack.unpack(raw) or false
    registration_cache[inc] = r
  end
  return r or nil
end

function held_of(inc)
  return call('ZLEXCOUNT', HELD, '[' .. inc, '[' .. inc .. string.rep('\255', ID + 1))
end

-- How many tasks this lane may hand out now.
local function lane_allows(lane, want)
  if lane.paused then return 0 end
  if lane.max > 0 then want = math.min(want, lane.max - running_in_lane(lane.n)) end
  if lane.drate > 0 and want > 0 then
    local b = bucket('d' .. lane.n, lane.drate, lane.dburst)
    if b.tokens < 1 and call('ZCARD', lane_by_n[lane.n].key) > 0 then
      local wait = bucket_wait(b)
      if not soonest or wait < soonest then soonest = wait end
    end
    want = math.min(want, math.floor(b.tokens))
  end
  return math.max(0, want)
end

local claim_writes, claim_held, claim_dispatched = {}, {}, {}
local taken, leaving = {}, {} -- per lane: how far down its head was read, and which ids leave it

-- One task as a worker gets it: id, fence, attempt, crashes and flags, beside its stored envelope.
local HEAD = '>c14dHBB'
local HEAD_SIZE = ID + 12

-- The flags that a worker is told. A waiting task whose record is larger than its envelope has notes (see note.lua).
local F_NOTED = 64
local function told_flags(rec, raw)
  local flags = rec.flags % F_LATE
  return rec.size > #raw and flags + F_NOTED or flags
end

-- What may become of a place at a lane's head: its task is taken, leaves otherwise, or stays for want of a holder.
local TOOK, LEFT, STAYS = 1, 2, 3

local function hand_over(id, raw, holder, record, head)
  local n = #claim_writes
  claim_writes[n + 1] = id
  claim_writes[n + 2] = record
  n = #claim_held
  claim_held[n + 1] = '0'
  claim_held[n + 2] = holder .. id
  n = #claimed + 1
  claimed[n], claimed_raws[n], claimed_by[n] = head, raw, holder
  return TOOK
end

-- The dispatch deadline doubles with each that was missed in a row: a slow consumer is not raced for ever.
local deadline_texts = {}
local function start_within(id, missed)
  local text = deadline_texts[missed]
  if not text then
    text = string.format('%.0f', now + conf.dispatch_ms * 2 ^ missed)
    deadline_texts[missed] = text
  end
  local n = #claim_dispatched
  claim_dispatched[n + 1] = text
  claim_dispatched[n + 2] = id
end

-- What plain tasks (fresh, and nothing special was said of them, as of most) have in common, by the head of their
-- envelope: {level, lane, max, tenant_len, taken, records by size}, or false when those with this head are not plain.
local kinds = {}
local plain_tail = {} -- per state: what follows the id in a plain task's head

local function plain_kind(raw)
  local head = sub(raw, 7, 13)
  local kind = kinds[head]
  if kind == nil then
    kind = false
    local schema, flags, lane_n, prio, max, tenant_len, idem_len = byte(head, 1, 7)
    if schema == SCHEMA and flags == 0 and idem_len == 0 and prio <= 9 then
      kind = {level = 9 - prio, lane = lane_n, max = max, tenant_len = tenant_len, taken = 0}
    end
    kinds[head] = kind
  end
  return kind and #raw >= 13 + kind.tenant_len and kind
end

-- Takes a plain task. BASE is the score of the first one of its priority that this call takes: a record needs it only to
-- put its task back in time, before all that came after it, and ids keep the order among equals.
local function take_plainly(id, raw, kind, base, next_holder, state)
  local holder = next_holder()
  if not holder then return STAYS end
  local attempts = state == RUNNING and 1 or 0
  if kind.base ~= base or kind.holder ~= holder then kind.base, kind.holder, kind.records = base, holder, {} end
  local size = #raw
  local record = kind.records[size]
  if not record then
    record = pack(REC, state, 0, kind.lane, 0, kind.max, attempts, size, base, now_us, now, attempts * now, holder)
    kind.records[size] = record
  end
  if attempts == 0 then start_within(id, 0) end
  kind.taken = kind.taken + 1
  if kind.tenant_len > 0 then record = record .. sub(raw, 14, 13 + kind.tenant_len) end
  local tail = plain_tail[state]
  if not tail then
    tail = pack('>dHBB', now_us, attempts, 0, 0)
    plain_tail[state] = tail
  end
  return hand_over(id, raw, holder, record, id .. tail)
end

-- Counts what take_plainly has taken. (Where a tenant may have a limit, nothing is taken plainly.)
local function occupy_plainly()
  for _, kind in pairs(kinds) do
    if kind and kind.taken > 0 then
      occupy(kind.lane, '', kind.taken)
      kind.taken = 0
    end
  end
end

-- Takes any other task; one that may not run now leaves the lane for where it belongs.
local function take_one(id, raw, rec, score, lane, limited, next_holder, state)
  local e = raw and env_unpack(raw)
  if raw and not e then
    rec = rec or {
      flags = 0, size = #raw, started = 0, crashes = 0, max = 1, attempts = 0, fence = 0, holder = NOBODY, tenant = '',
    }
    rec.lane, rec.score = lane.n, score
    add_error(id, rec, cmsgpack.pack({kind = 'corrupt', message = 'the stored envelope cannot be read', at = now}))
    finish(id, rec, DEAD)
    return LEFT
  end
  if rec and SETS[rec.state] then
    heal(id, rec)
    return LEFT
  end
  if not e then return LEFT end -- a place left by a submission that failed half-way
  -- A task that waits elsewhere or is held stands here by a call that failed half-way: the record decides. One that
  -- nobody holds, though its record says so, was being claimed by such a call, and is taken now.
  if rec and rec.state ~= QUEUED then
    local held = (rec.state == RUNNING or rec.state == DISPATCHED) and call('ZSCORE', HELD, rec.holder .. id)
    if held or rec.state == SCHEDULED or rec.state == PARKED then return LEFT end
  end
  rec = rec or rec_fresh(e, QUEUED, score)
  rec.score = score
  if e.startby > 0 and has(rec.flags, F_STARTBY) and e.submitted + e.startby <= now then
    finish(id, rec, EXPIRED)
    return LEFT
  end
  local max = limited and tenant_conf(rec.tenant).max or 0
  if max > 0 and running_of_tenant(rec.tenant) >= max then
    park(id, rec)
    return LEFT
  end
  local holder = next_holder()
  if not holder then return STAYS end
  rec.fence = math.max(rec.fence + 1, now_us)
  rec.holder = holder
  rec.since = now
  if state == RUNNING then
    -- A record that already says running was written by a call that failed: it has counted its attempt.
    if rec.state ~= RUNNING then rec.attempts = rec.attempts + 1 end
    rec.started = now
    if has(rec.flags, F_STARTBY) then unstartby[#unstartby + 1] = id end
    rec.flags = without(rec.flags % F_LATE, F_STARTBY)
  else
    start_within(id, math.floor(rec.flags / F_LATE))
  end
  rec.state = state
  local head = struct.pack(HEAD, id, rec.fence, rec.attempts, rec.crashes, told_flags(rec, raw))
  occupy(rec.lane, rec.tenant, 1)
  return hand_over(id, raw, holder, rec_pack(rec), head)
end

-- Takes up to WANT tasks from one lane. NEXT_HOLDER() names the holder of the next task, or nil for none left.
-- Only reads; what is taken is written by claim_flush.
local function take_from(at, want, next_holder, state)
  local lane, key = conf.lanes[at], LANES[at]
  want = lane_allows(lane, want)
  if want <= 0 then return 0 end
  local got, offset, looked = 0, taken[at] or 0, 0
  local limited = conf.overrides or conf.tenant.max > 0
  -- Within a priority (a level) scores ascend, so only the last of each moves time.
  local last, last_level = nil, nil
  local base, base_level = nil, nil
  local leaves = leaving[at] or {}
  leaving[at] = leaves
  local full = false
  -- (Redis and Lua turn a score into text and back, which costs more than the rest of a plain task: few are read.)
  local function score_of(id) return tonumber(call('ZSCORE', key, id)) end
  while got < want and looked < want + 200 and not full do
    local ids = call('ZRANGE', key, offset, offset + want - got - 1)
    if #ids == 0 then break end
    local raws, recs = hash_many(TASKS, ids), hash_many(RECORDS, ids)
    for i = 1, #ids do
      local id, raw, became, level = ids[i], raws[i], nil, nil
      local kind = raw and not recs[i] and not limited and plain_kind(raw)
      if kind then
        level = kind.level
        if level ~= base_level then base, base_level = score_of(id), level end
        became = take_plainly(id, raw, kind, base, next_holder, state)
      else
        if raw == '' then raw = false end -- (being purged)
        local rec = raw and recs[i] and rec_unpack(recs[i])
        local score = score_of(id)
        level = math.floor(score / STRIDE)
        became = take_one(id, raw, rec, score, lane, limited, next_holder, state)
      end
      if became == STAYS then
        full = true
        break
      end
      looked = looked + 1
      offset = offset + 1
      leaves[#leaves + 1] = id
      if became == TOOK then
        got = got + 1
        if level ~= last_level then
          if last then advance(lane.n, score_of(last)) end
          last_level = level
        end
        last = id
        if lane.drate > 0 then bucket_take('d' .. lane.n, bucket('d' .. lane.n, lane.drate, lane.dburst), 1) end
      end
    end
  end
  if last then advance(lane.n, score_of(last)) end
  occupy_plainly()
  taken[at] = offset
  return got
end

-- Takes up to WANT tasks from all lanes, in order.
function claim_batch(want, next_holder, state)
  if conf.paused then return end
  local left = want
  if conf.shares then
    local slots = tonumber(call('HGET', META, 'slots') or 0)
    for at, lane in ipairs(conf.lanes) do
      if lane.share > 0 and left > 0 then
        local owed = math.ceil(slots * lane.share / 100) - running_in_lane(lane.n)
        if owed > 0 then left = left - take_from(at, math.min(left, owed), next_holder, state) end
      end
    end
  end
  for at = 1, #conf.lanes do
    if left <= 0 then break end
    left = left - take_from(at, left, next_holder, state)
  end
end

-- Writes what claim_batch took: records and holders first, the lanes last.
function claim_flush()
  call_many('HSET', RECORDS, claim_writes)
  call_many('ZADD', HELD, claim_held)
  call_many('ZADD', DISPATCHED_SET, claim_dispatched)
  bucket_flush()
  local ready = finish_flush()
  for at, ids in pairs(leaving) do call_many('ZREM', LANES[at], ids) end
  return ready
end

-- Whether eligible work is left: then the wake token is passed on.
function work_left()
  if conf.paused then return false end -- (else whoever is woken would wake the next, round and round)
  for at, lane in ipairs(conf.lanes) do
    if lane_allows(lane, 1) > 0 and call('ZCARD', LANES[at]) > 0 then return true end
  end
  return false
end

-- Claims for a worker's own free slots, replayably: the same request number is answered with the same tasks.
-- Returns nil, their heads in one string and their envelopes, or the status that says why there are none.
function claim_direct(inc, request, want)
  local reg = registration(inc)
  if not reg or reg.st == 5 then return 'gone', '', {} end
  local last = call('HGET', REPLIES, inc)
  if last then
    local number = struct.unpack('>d', last)
    if request < number then return 'late', '', {} end
    if request == number then
      local ids, fences = {}, {}
      for pos = 9, #last, HEAD_SIZE do
        local id, fence = struct.unpack('>c14d', last, pos)
        ids[#ids + 1] = id
        fences[#fences + 1] = fence
      end
      local raws, recs = hash_many(TASKS, ids), hash_many(RECORDS, ids)
      local heads, envelopes = {}, {}
      for i, id in ipairs(ids) do
        local rec = recs[i] and rec_unpack(recs[i])
        if raws[i] and rec and rec.fence == fences[i] and rec.holder == inc and rec.state == RUNNING then
          heads[#heads + 1] = struct.pack(HEAD, id, rec.fence, rec.attempts, rec.crashes, told_flags(rec, raws[i]))
          envelopes[#envelopes + 1] = raws[i]
        end
      end
      return nil, table.concat(heads), envelopes
    end
  end
  local heads = ''
  if reg.st == 2 and want > 0 then
    local free = math.min(want, reg.s - held_of(inc))
    if free > 0 then
      claim_batch(free, function() return inc end, RUNNING)
      wake(claim_flush())
      heads = table.concat(claimed)
    end
  end
  call('HSET', REPLIES, inc, struct.pack('>d', request) .. heads)
  -- Whoever leaves eligible work behind passes the token on, and so does a worker that is full or draining.
  if work_left() then wake(1) end
  return reg.st == 3 and 'draining' or nil, heads, claimed_raws
end

end
