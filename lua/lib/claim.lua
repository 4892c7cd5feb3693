-- claim: the best eligible tasks, in priority order, for slots that are free.
-- KEYS: workers held replies
-- Lanes below their minimum share of the occupied slots go first, then all lanes by priority. A lane that is
-- paused, at its limit or out of tokens is passed over; a tenant at its limit has its tasks parked.

local registration_cache = {}

-- A worker's registration: {n = name, s = slots, w = window, st = state, p = partition, m = mode, ...} or nil.
local function registration(inc)
  local r = registration_cache[inc]
  if r == nil then
    local raw = call('HGET', WORKERS, inc)
    r = raw and cmsgpack.unpack(raw) or false
    registration_cache[inc] = r
  end
  return r or nil
end

local function held_of(inc)
  return call('ZLEXCOUNT', HELD, '[' .. inc, '[' .. inc .. string.rep('\255', ID + 1))
end

local soonest = nil -- ms until a lane that was passed over for its rate may be asked again

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

local claimed = {} -- per task taken: {id, record, stored envelope, holder}
local claim_writes, claim_held, claim_dispatched = {}, {}, {}
local taken, leaving = {}, {} -- per lane: how far down its head was read, and which ids leave it

-- Takes up to WANT tasks from one lane. NEXT_HOLDER() names the holder of the next task, or nil for none left.
-- Only reads; what is taken is written by claim_flush.
local function take_from(at, want, next_holder, state)
  local lane, key = conf.lanes[at], LANES[at]
  want = lane_allows(lane, want)
  local got, offset = 0, taken[at] or 0
  local limited = conf.overrides or conf.tenant.max > 0
  -- Within a priority scores ascend, so only the last of each moves time; BOUND is where the next priority begins.
  local last, bound = nil, 0
  local looked = 0
  while got < want and looked < want + 200 do
    local page = call('ZRANGE', key, offset, offset + want - got - 1, 'WITHSCORES')
    if #page == 0 then break end
    local ids, scores = {}, {}
    for i = 1, #page, 2 do
      ids[#ids + 1] = page[i]
      scores[#scores + 1] = tonumber(page[i + 1])
    end
    local raws, recs = hash_many(TASKS, ids), hash_many(RECORDS, ids)
    local full = false
    for i = 1, #ids do
      local id, raw, rec = ids[i], raws[i], recs[i] and rec_unpack(recs[i])
      if raw == '' then raw, rec = false, nil end -- (being purged)
      local e = raw and env_unpack(raw)
      looked = looked + 1
      local leaves = leaving[at]
      if not leaves then
        leaves = {}
        leaving[at] = leaves
      end
      leaves[#leaves + 1] = id
      if raw and not e then
        rec = rec or {flags = 0, size = #raw, started = 0, crashes = 0, max = 1, attempts = 0, fence = 0, holder = NOBODY, tenant = ''}
        rec.lane, rec.score = lane.n, scores[i]
        add_error(id, rec, cmsgpack.pack({kind = 'corrupt', message = 'the stored envelope cannot be read', at = now}))
        finish(id, rec, DEAD)
      elseif rec and SETS[rec.state] then
        heal(id, rec)
      elseif e then -- (without an envelope it is a place left by a submission that failed half-way: it only leaves)
        rec = rec or rec_fresh(e, QUEUED, scores[i])
        local max = limited and tenant_conf(rec.tenant).max or 0
        if e.startby > 0 and has(rec.flags, F_STARTBY) and e.submitted + e.startby <= now then
          finish(id, rec, EXPIRED)
        elseif max > 0 and running_of_tenant(rec.tenant) >= max then
          rec.score = scores[i]
          park(id, rec)
        else
          local holder = next_holder()
          if not holder then
            leaves[#leaves] = nil
            full = true
            break
          end
          rec.score = scores[i]
          rec.fence = math.max(rec.fence + 1, now_us)
          rec.holder = holder
          rec.since = now
          if state == RUNNING then
            -- A record that already says running was written by a call that failed: it has counted its attempt.
            if rec.state ~= RUNNING then rec.attempts = rec.attempts + 1 end
            rec.started = now
            if rec.flags ~= 0 then
              if has(rec.flags, F_STARTBY) then unstartby[#unstartby + 1] = id end
              rec.flags = without(rec.flags % F_LATE, F_STARTBY)
            end
          else
            -- The deadline doubles with each that was missed: a slow consumer is not raced for ever.
            claim_dispatched[#claim_dispatched + 1] = now + conf.dispatch_ms * 2 ^ math.floor(rec.flags / F_LATE)
            claim_dispatched[#claim_dispatched + 1] = id
          end
          rec.state = state
          claim_writes[#claim_writes + 1] = id
          claim_writes[#claim_writes + 1] = rec_pack(rec)
          claim_held[#claim_held + 1] = 0
          claim_held[#claim_held + 1] = holder .. id
          occupy(rec.lane, rec.tenant, 1)
          if scores[i] >= bound then
            if last then advance(lane.n, last) end
            bound = (math.floor(scores[i] / STRIDE) + 1) * STRIDE
          end
          last = scores[i]
          got = got + 1
          claimed[#claimed + 1] = {id, rec, raw, holder}
          if lane.drate > 0 then bucket_take('d' .. lane.n, bucket('d' .. lane.n, lane.drate, lane.dburst), 1) end
        end
      end
      offset = offset + 1
    end
    if full then break end
  end
  if last then advance(lane.n, last) end
  taken[at] = offset
  return got
end

-- Takes up to WANT tasks from all lanes, in order.
local function claim_batch(want, next_holder, state)
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
local function claim_flush()
  call_many('HSET', RECORDS, claim_writes)
  call_many('ZADD', HELD, claim_held)
  call_many('ZADD', DISPATCHED_SET, claim_dispatched)
  bucket_flush()
  local ready = finish_flush()
  for at, ids in pairs(leaving) do call_many('ZREM', LANES[at], ids) end
  return ready
end

-- Whether eligible work is left: then the wake token is passed on.
local function work_left()
  if conf.paused then return false end -- (else whoever is woken would wake the next, round and round)
  for at, lane in ipairs(conf.lanes) do
    if lane_allows(lane, 1) > 0 and call('ZCARD', LANES[at]) > 0 then return true end
  end
  return false
end

-- One task as a worker gets it: id, fence, attempt, crashes and flags (c14 d H B B), beside its stored envelope.
local HEAD_SIZE = ID + 12
local function claimed_head(id, rec)
  return struct.pack('>c14dHBB', id, rec.fence, rec.attempts, rec.crashes, rec.flags)
end

-- Claims for a worker's own free slots, replayably: the same request number is answered with the same tasks.
-- Returns nil and the tasks as {head, envelope, ...}, or the status that says why there are none.
local function claim_direct(inc, request, want)
  local reg = registration(inc)
  if not reg or reg.st == 5 then return 'gone' end
  local last = call('HGET', REPLIES, inc)
  local out = {}
  if last then
    local number = struct.unpack('>d', last)
    if request < number then return 'late' end
    if request == number then
      local ids, fences = {}, {}
      for pos = 9, #last, HEAD_SIZE do
        local id, fence = struct.unpack('>c14d', last, pos)
        ids[#ids + 1] = id
        fences[#fences + 1] = fence
      end
      local raws, recs = hash_many(TASKS, ids), hash_many(RECORDS, ids)
      for i, id in ipairs(ids) do
        local rec = recs[i] and rec_unpack(recs[i])
        if raws[i] and rec and rec.fence == fences[i] and rec.holder == inc and rec.state == RUNNING then
          out[#out + 1] = claimed_head(id, rec)
          out[#out + 1] = raws[i]
        end
      end
      return nil, out
    end
  end
  local memo = {struct.pack('>d', request)}
  if reg.st == 2 and want > 0 then
    local free = math.min(want, reg.s - held_of(inc))
    if free > 0 then
      claim_batch(free, function() return inc end, RUNNING)
      wake(claim_flush())
      for _, c in ipairs(claimed) do
        local head = claimed_head(c[1], c[2])
        out[#out + 1] = head
        out[#out + 1] = c[3]
        memo[#memo + 1] = head
      end
    end
  end
  call('HSET', REPLIES, inc, table.concat(memo))
  -- Whoever leaves eligible work behind passes the token on, and so does a worker that is full or draining.
  if work_left() then wake(1) end
  return reg.st == 3 and 'draining' or nil, out
end
