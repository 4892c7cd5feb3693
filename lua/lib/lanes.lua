-- lanes: where a task waits, in which order, and who is woken when it may go.
-- KEYS: tenants vtime parked records wake lanes*
-- Score in a lane: (9 - priority) * 2^49 + virtual start time: 4 bits of priority and 49 of time are exact
-- in a double. Virtual time is start-time fair queueing (Goyal, Vin, Cheng 1996): a task starts at
-- max(lane's time, its tenant's last finish) and finishes 256 / weight later; with one tenant that is FIFO.

local STRIDE = 562949953421312 -- 2^49
local final_leaves = {} -- per set of ended tasks: ids that leave it to wait again
local mend = nil        -- (set by finish) puts a task whose record says that it has ended among the ended

local waits_cache = {}  -- per tenant: whether it has parked tasks

-- What other parts use; the rest is local to the block below (a Lua function may have 200 locals at once).
local tenant_conf, vt_get, charge, advance, restored, tenant_waits, park_member, park, enqueue, place, place_flush, wake
local vt_set, vt_read, tenant_field
do
local COST = 256               -- virtual time of one task at weight 1; weights go to 256

local tenant_cache, vt_cache, vt_dirty = {}, {}, {}
local lane_adds, park_adds, park_records = {}, {}, {}

-- What the configuration says of a tenant: {w = weight, max = running, rate = per second, burst = tasks}.
function tenant_conf(tenant)
  if not conf.overrides then return conf.tenant end
  local t = tenant_cache[tenant]
  if t then return t end
  t = conf.tenant
  local raw = call('HGET', TENANTS, tenant)
  if raw then
    t = setmetatable({}, ZERO)
    for k, v in pairs(conf.tenant) do t[k] = v end
    for k, v in pairs(cmsgpack.unpack(raw)) do t[k] = v end
  end
  tenant_cache[tenant] = t
  return t
end

-- A batch is often of one kind: the field that the last charge moved, and where the next one of its kind starts. (What
-- is kept of it below is read and written through vt_get and vt_set as well.)
local run_lane, run_prio, run_tenant, run_field, run_level, run_cost, run_start

function vt_get(field)
  if field == run_field then return run_start end
  local v = vt_cache[field]
  if v == nil then
    v = tonumber(call('HGET', VTIME, field) or 0)
    vt_cache[field] = v
  end
  return v
end

local function vt_both(one, other)
  local v, w = vt_cache[one], vt_cache[other]
  if v == nil or w == nil then
    local read = call('HMGET', VTIME, one, other)
    v, w = v or tonumber(read[1] or 0), w or tonumber(read[2] or 0)
    vt_cache[one], vt_cache[other] = v, w
  end
  return v, w
end

function vt_set(field, value)
  if field == run_field then run_start = value end
  vt_cache[field] = value
  vt_dirty[field] = value
end

-- Reads the times of these fields at once, for charges that will need them.
function vt_read(fields)
  for i, value in ipairs(hash_many(VTIME, fields)) do
    if vt_cache[fields[i]] == nil then vt_cache[fields[i]] = tonumber(value or 0) end
  end
end

local function charges_end()
  if run_field then vt_set(run_field, run_start) end
  run_lane, run_field = nil, nil
end

local function vt_flush()
  charges_end()
  local pairs_ = {}
  for field, value in pairs(vt_dirty) do
    pairs_[#pairs_ + 1] = field
    pairs_[#pairs_ + 1] = value
  end
  call_many('HSET', VTIME, pairs_)
  vt_dirty = {}
end

-- The fields in VTIME of a lane's time, and of a tenant's last finish there. (Numbers become text slowly.)
local fields_begin = {}
local function lane_field(lane_n, prio)
  local at = lane_n * 10 + prio
  local field = fields_begin[at]
  if not field then
    field = lane_n .. ':' .. prio
    fields_begin[at] = field
  end
  return field
end

function tenant_field(lane_n, prio, tenant)
  return lane_field(lane_n, prio) .. ':' .. (lane_by_n[lane_n].conf.fifo and '' or tenant)
end

-- The score of a task that joins its lane now, charged to its tenant.
function charge(lane_n, prio, tenant)
  if lane_n ~= run_lane or prio ~= run_prio or tenant ~= run_tenant then
    charges_end()
    local weight = lane_by_n[lane_n].conf.fifo and 1 or tenant_conf(tenant).w
    run_lane, run_prio, run_tenant, run_field = lane_n, prio, tenant, tenant_field(lane_n, prio, tenant)
    run_level = (9 - prio) * STRIDE
    run_start = math.max(vt_both(lane_field(lane_n, prio), run_field))
    run_cost = weight == 1 and COST or math.max(1, math.floor(COST / weight + 0.5))
  end
  local start = run_start
  if start >= STRIDE - COST then start = STRIDE - COST end
  run_start = start + run_cost
  return run_level + start
end

-- Moves a lane's virtual time to that of a task that leaves it.
function advance(lane_n, score)
  charges_end()
  local level = math.floor(score / STRIDE)
  local field = lane_n .. ':' .. (9 - level)
  local start = score - level * STRIDE
  if start > vt_get(field) then vt_set(field, start) end
end

-- The stored score of a task that returns: never behind what its lane hands out now.
function restored(lane_n, score)
  local level = math.floor(score / STRIDE)
  local field = lane_n .. ':' .. (9 - level)
  return level * STRIDE + math.min(score - level * STRIDE, vt_get(field))
end

-- Whether a tenant has parked tasks.
function tenant_waits(tenant)
  local w = waits_cache[tenant]
  if w == nil then
    w = #call('ZRANGEBYLEX', PARKED_SET, '[' .. tenant .. '\0', '(' .. tenant .. '\1', 'LIMIT', 0, 1) > 0
    waits_cache[tenant] = w
  end
  return w
end

function park_member(tenant, lane_n, score, id)
  return tenant .. '\0' .. string.char(lane_n) .. struct.pack('>d', score) .. id
end

-- Parks a task whose tenant is at its limit. Takes the record, writes it at the flush.
function park(id, rec)
  rec.state = PARKED
  rec.since = now
  rec.holder = NOBODY
  park_records[#park_records + 1] = id
  park_records[#park_records + 1] = rec_pack(rec)
  park_adds[#park_adds + 1] = 0
  park_adds[#park_adds + 1] = park_member(rec.tenant, rec.lane, rec.score, id)
  waits_cache[rec.tenant] = true
end

function enqueue(id, lane_n, score)
  local adds = lane_adds[lane_n]
  if not adds then
    adds = {}
    lane_adds[lane_n] = adds
  end
  local n = #adds
  adds[n + 1] = score
  adds[n + 2] = id
end

-- Puts a task where it may wait: in its lane, or parked behind others of a tenant at its limit.
-- REC may be nil for a fresh task (then MAKE() gives its record if one is needed).
function place(id, lane_n, score, tenant, rec, make)
  if tenant_conf(tenant).max > 0 and tenant_waits(tenant) then
    rec = rec or make()
    rec.score = score
    park(id, rec)
    return PARKED
  end
  enqueue(id, lane_n, score)
  return QUEUED
end

-- Writes what place, park and charge have gathered. Places before records: a call that fails half-way then
-- leaves a task in a place too many, which whoever meets it drops, and never in none.
function place_flush()
  call_many('ZADD', PARKED_SET, park_adds)
  local woken = 0
  for lane_n, adds in pairs(lane_adds) do
    call_many('ZADD', lane_by_n[lane_n].key, adds)
    woken = woken + #adds / 2
  end
  for set, ids in pairs(final_leaves) do call_many('ZREM', set, ids) end
  call_many('HSET', RECORDS, park_records)
  vt_flush()
  lane_adds, park_adds, park_records, final_leaves = {}, {}, {}, {}
  return woken
end

-- Hands up to N wake tokens to whoever waits for work; the list never grows past the cap. (Nobody waits when it is full.)
function wake(n)
  if n <= 0 then return end
  n = math.min(n, conf.wake_cap - call('LLEN', WAKE))
  if n == 1 then
    call('RPUSH', WAKE, '1')
  elseif n > 1 then
    local tokens = {}
    for i = 1, n do tokens[i] = '1' end
    call('RPUSH', WAKE, unpack(tokens))
  end
end

end
