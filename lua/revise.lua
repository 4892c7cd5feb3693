-- revise: waiting tasks get another lane, another priority, or another time to run at.
-- KEYS: meta tasks records errors scheduled parked held dispatched startby cancelling succeeded dead cancelled expired tenants vtime running idem idemexp outbox wake wake_tend lanes*
-- ARGV: conf, lane's number or '', priority or '', due (ms since 1970, or a + and ms from now; what is past means now)
--   or '', what the record must be (as version_of packs it) or '', id...
-- RETURNS: {'ok', now, code per id: revised, same (there is nothing to change), changed (it is not as it must be), unknown,
--   lane removed, or the name of the state in which it can't be revised}
-- IDEMPOTENT: yes; the second time the code is same (or changed, where something was expected)
-- USES: base record packed outbox lanes running finish priority
-- A task never stands in two lanes, not even when a call fails half-way: one claim could take it from both. So a task
-- that changes lanes goes the way of one that is put off and comes due: it is scheduled, and leaves its old place; then
-- its record names the new lane; then it joins that. Promotion completes what fails in between.

local stop = load_conf(ARGV[1])
if stop then return stop end
local to_lane, to_prio, to_due, expected = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
if sub(ARGV[4], 1, 1) == '+' then to_due = now + tonumber(sub(ARGV[4], 2)) end
local ids = {unpack(ARGV, 6)}
local envelopes, records = hash_many(TASKS, ids), hash_many(RECORDS, ids)
local NAMES = {
  'queued', 'scheduled', 'parked', 'dispatched', 'running', 'succeeded', 'dead', 'cancelled', 'expired', 'blocked',
}
local in_place, movers, refunds = {}, {}, {}

local function version_of(rec, e, due)
  if not rec then return struct.pack('>BBdddd', 0, e.lane, 0, 0, 0, due) end
  return struct.pack('>BBdddd', rec.state, rec.lane, rec.score, rec.fence, rec.since, due)
end

-- The record of a waiting task that has none.
local function first_record(id, e, state)
  local rec = rec_fresh(e, state, state == SCHEDULED and uncharged(e.prio) or 0)
  rec.since = e.submitted
  if state == QUEUED and lane_by_n[e.lane] then rec.score = tonumber(call('ZSCORE', lane_by_n[e.lane].key, id) or 0) end
  return rec
end

-- Says what is to become of one task; writes nothing.
local function consider(id, rec, e)
  local due = tonumber(call('ZSCORE', SCHEDULED_SET, id) or nil)
  local state = rec and rec.state or (due and SCHEDULED or QUEUED)
  if state ~= SCHEDULED then due = nil end
  if expected ~= '' and version_of(rec, e, due or 0) ~= expected then return 'changed' end
  if state ~= QUEUED and state ~= SCHEDULED and state ~= PARKED then return NAMES[state] end
  rec = rec or first_record(id, e, state)
  local before = prio_now(rec, e)
  local lane_n, prio = to_lane or rec.lane, to_prio or before
  if not lane_by_n[lane_n] or (to_lane and lane_by_n[to_lane].conf.gone) then return 'lane removed' end
  local moved = lane_n ~= rec.lane or prio ~= before
  local wanted = to_due or due
  if wanted and wanted <= now then wanted = nil end -- (what has come due by itself needs no promotion any more)
  if not moved and wanted == due then return 'same' end
  if moved and state ~= SCHEDULED then refunds[#refunds + 1] = {rec.lane, rec.score, rec.tenant} end
  local change = {id = id, rec = rec, lane = lane_n, prio = prio, from = state, due = wanted, moved = moved, e = e}
  if state == QUEUED and lane_n == rec.lane and not wanted then
    in_place[#in_place + 1] = change
  else
    movers[#movers + 1] = change
  end
  emit('revised', id, lane_n, rec.attempts)
  return 'revised'
end

local codes, seen = {}, {}
for i, id in ipairs(ids) do
  local e = envelopes[i] and env_unpack(envelopes[i])
  codes[i] = seen[id] or (e and consider(id, records[i] and rec_unpack(records[i]), e) or 'unknown')
  seen[id] = codes[i]
end

-- The last ones first: so those of a tenant's that stood one behind the other all give their charge back.
table.sort(refunds, function(a, b) return a[2] > b[2] end)
for _, left in ipairs(refunds) do refund(left[1], left[2], left[3]) end

-- Another place in the same lane is one command.
for _, c in ipairs(in_place) do
  c.rec.score = charge_anew(c.lane, c.prio, c.rec.tenant)
  call('ZADD', lane_by_n[c.lane].key, c.rec.score, c.id)
  write_record(c.id, c.rec)
end

-- Put off, or due at once: out of the old place. (What is scheduled already may stand in a lane by a call that failed.)
for _, c in ipairs(movers) do
  local rec = c.rec
  if c.from == PARKED then
    leave.parked[#leave.parked + 1] = park_member(rec.tenant, rec.lane, rec.score, c.id)
  elseif lane_by_n[rec.lane] then
    leave.lanes[rec.lane] = leave.lanes[rec.lane] or {}
    table.insert(leave.lanes[rec.lane], c.id)
  end
  rec.holder = NOBODY
  schedule(c.id, rec, c.due or now)
end
finish_flush()

local named = {}
for _, c in ipairs(movers) do
  waits_cache[c.rec.tenant] = nil
  if c.moved then
    c.rec.lane, c.rec.score = c.lane, uncharged(c.prio)
    named[#named + 1] = c.id
    named[#named + 1] = rec_pack(c.rec)
  end
end
call_many('HSET', RECORDS, named)

for _, c in ipairs(movers) do
  local rec = c.rec
  if not c.due then
    leave.scheduled[#leave.scheduled + 1] = c.id
    come_due(c.id, rec, c.e)
  end
end
wake(finish_flush())
return {'ok', now, unpack(codes)}
