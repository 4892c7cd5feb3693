-- recount: the counts of running tasks, from what is really held.
-- KEYS: records held running
-- Tenants are counted only while some tenant has a limit: nobody asks otherwise, and with many tenants it costs a task
-- more than being claimed. When the first limit is set, this makes up for it.

local function tenants_limited(of)
  return of.overrides or (of.tenant and (of.tenant.max or 0) > 0) or false
end

-- Corrects the counts. STRAY(member, id, record or nil) is called for what is held by nobody, by its record.
local function recount(tenants, stray)
  local held, ids, real = call('ZRANGE', HELD, 0, -1), {}, {}
  for i, member in ipairs(held) do ids[i] = sub(member, 9) end
  local raws = hash_many(RECORDS, ids)
  for i = 1, #ids do
    local rec = raws[i] and rec_unpack(raws[i])
    if rec and (rec.state == RUNNING or rec.state == DISPATCHED) and rec.holder == sub(held[i], 1, 8) then
      local lane, tenant = 'l' .. rec.lane, 't' .. rec.tenant
      real[lane] = (real[lane] or 0) + 1
      if tenants then real[tenant] = (real[tenant] or 0) + 1 end
    elseif stray then
      stray(held[i], ids[i], rec)
    end
  end
  local counted, writes = call('HGETALL', RUNNING_COUNTS), {}
  for i = 1, #counted, 2 do
    if real[counted[i]] == nil then
      call('HDEL', RUNNING_COUNTS, counted[i])
    elseif real[counted[i]] == tonumber(counted[i + 1]) then
      real[counted[i]] = nil
    end
  end
  for field, n in pairs(real) do
    writes[#writes + 1] = field
    writes[#writes + 1] = n
  end
  call_many('HSET', RUNNING_COUNTS, writes)
end
