-- running: how many tasks of each lane and tenant run, and what moves on when slots come free.
-- KEYS: parked records running lanes*

local running_in_lane, running_of_tenant, occupy, occupy_flush, unpark_all
do
-- Running counts by lane and tenant: as stored, and what this call has added to them so far.
local lane_counts, tenant_counts, lane_deltas, tenant_deltas = {}, {}, {}, {}

local function running_count(counts, deltas, mark, who)
  local n = counts[who]
  if n == nil then
    n = tonumber(call('HGET', RUNNING_COUNTS, mark .. who) or 0)
    counts[who] = n
  end
  return n + (deltas[who] or 0)
end

function running_in_lane(lane_n)
  return running_count(lane_counts, lane_deltas, 'l', lane_n)
end

function running_of_tenant(tenant)
  return running_count(tenant_counts, tenant_deltas, 't', tenant)
end

-- Adds to the running count of a task's lane, and of its tenant where a tenant may have a limit (see recount).
function occupy(lane_n, tenant, delta)
  lane_deltas[lane_n] = (lane_deltas[lane_n] or 0) + delta
  if conf.overrides or conf.tenant.max > 0 then tenant_deltas[tenant] = (tenant_deltas[tenant] or 0) + delta end
end

-- Many tenants' counts are read and written at once: a call for each would cost more than all else of their tasks.
local function flush_many(fields, changes)
  local counts, writes, gone = hash_many(RUNNING_COUNTS, fields), {}, {}
  for i, field in ipairs(fields) do
    local n = tonumber(counts[i] or 0) + changes[i]
    if n > 0 then
      writes[#writes + 1] = field
      writes[#writes + 1] = n
    elseif counts[i] then
      gone[#gone + 1] = field
    end
  end
  call_many('HSET', RUNNING_COUNTS, writes)
  call_many('HDEL', RUNNING_COUNTS, gone)
end

function occupy_flush()
  local fields, changes = {}, {}
  for mark, deltas in pairs({l = lane_deltas, t = tenant_deltas}) do
    for who, delta in pairs(deltas) do
      if delta ~= 0 then
        fields[#fields + 1] = mark .. who
        changes[#changes + 1] = delta
      end
    end
  end
  if #fields <= 3 then
    for i, field in ipairs(fields) do
      if call('HINCRBY', RUNNING_COUNTS, field, changes[i]) <= 0 then call('HDEL', RUNNING_COUNTS, field) end
    end
  else
    flush_many(fields, changes)
  end
  lane_counts, tenant_counts, lane_deltas, tenant_deltas = {}, {}, {}, {}
end

-- Moves up to FREE parked tasks of a tenant to their lanes, best lane first.
local function unpark(tenant, free)
  local moved = 0
  for _, lane in ipairs(conf.lanes) do
    if moved >= free then break end
    local prefix = tenant .. '\0' .. string.char(lane.n)
    local top = lane.n < 255 and '(' .. tenant .. '\0' .. string.char(lane.n + 1) or '(' .. tenant .. '\1'
    local members = call('ZRANGEBYLEX', PARKED_SET, '[' .. prefix, top, 'LIMIT', 0, free - moved)
    if #members > 0 then
      local ids, adds = {}, {}
      for i, member in ipairs(members) do
        ids[i] = string.sub(member, -ID)
        adds[#adds + 1] = struct.unpack('>d', member, #prefix + 1)
        adds[#adds + 1] = ids[i]
      end
      -- A task that is neither parked nor queued got here by a call that failed half-way: it is dropped.
      local raws, writes, moves = hash_many(RECORDS, ids), {}, {}
      for i = 1, #ids do
        local rec = raws[i] and rec_unpack(raws[i])
        if rec and (rec.state == PARKED or rec.state == QUEUED) then
          rec.state = QUEUED
          writes[#writes + 1] = ids[i]
          writes[#writes + 1] = rec_pack(rec)
          moves[#moves + 1] = adds[2 * i - 1]
          moves[#moves + 1] = ids[i]
        elseif rec and mend then
          mend(ids[i], rec)
        end
      end
      call_many('HSET', RECORDS, writes)
      call_many('ZADD', lane_by_n[lane.n].key, moves)
      call_many('ZREM', PARKED_SET, members)
      moved = moved + #moves / 2
    end
  end
  waits_cache[tenant] = nil
  return moved
end

-- After slots of these tenants (a set) came free: what was parked for them moves on. Returns how many.
function unpark_all(tenants)
  local moved = 0
  if not next(tenants) or call('ZCARD', PARKED_SET) == 0 then return 0 end
  for tenant in pairs(tenants) do
    local max = tenant_conf(tenant).max
    local free = max > 0 and max - running_of_tenant(tenant) or 1000
    if free > 0 and tenant_waits(tenant) then moved = moved + unpark(tenant, math.min(free, 100)) end
  end
  return moved
end

end
