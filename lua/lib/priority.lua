-- priority: which priority a task has now, and what a task gives back that leaves its lane unserved.
-- KEYS: vtime lanes*

-- The priority of a task by its record's score; E is its envelope's head. A negative score (of a task that has no place
-- in its lane yet) is -1 less the priority, 0 says nothing.
local function prio_now(rec, e)
  if rec.score == 0 then return e.prio end
  if rec.score < 0 then return -rec.score - 1 end
  return 9 - math.floor(rec.score / STRIDE)
end

-- The score of a record that has no place in a lane yet, and is charged when it gets one.
local function uncharged(prio)
  return -prio - 1
end

-- A new score in a lane, charged to the tenant. Never 0: a record's score says which priority the task has.
local function charge_anew(lane_n, prio, tenant)
  return math.max(1, charge(lane_n, prio, tenant))
end

-- Gives the tenant its charge back for a task that leaves its lane unserved; only when nothing of the tenant comes after
-- it there, else later tasks would overtake those that stay.
local function refund(lane_n, score, tenant)
  if score <= 0 or not lane_by_n[lane_n] then return end
  local level = math.floor(score / STRIDE)
  local fifo = lane_by_n[lane_n].conf.fifo
  local field = lane_n .. ':' .. (9 - level) .. ':' .. (fifo and '' or tenant)
  local cost = math.max(1, math.floor(256 / (fifo and 1 or tenant_conf(tenant).w) + 0.5))
  local start = score - level * STRIDE
  if vt_get(field) == start + cost then vt_set(field, start) end
end

-- A scheduled task with a record joins its lane: with the place that it had, or a new one if it never had any.
local function come_due(id, rec, e)
  if rec.score >= 0 then
    if rec.score == 0 then rec.score = charge(rec.lane, e.prio, rec.tenant) end
    return requeue(id, rec)
  end
  rec.score = charge_anew(rec.lane, prio_now(rec, e), rec.tenant)
  rec.since, rec.holder = now, NOBODY
  rec.state = place(id, rec.lane, rec.score, rec.tenant, rec)
  if rec.state == QUEUED then write_record(id, rec) end
end
