-- promote: scheduled tasks that are due join their lanes; tasks that were not started in time expire.
-- KEYS: meta tasks records errors scheduled parked held dispatched startby cancelling succeeded dead cancelled expired tenants vtime running idem idemexp outbox wake wake_tend lanes*
-- ARGV: conf, limit
-- RETURNS: {'ok', now, promoted, expired, ms until the next one is due or -1}
-- IDEMPOTENT: yes
-- USES: base record packed outbox lanes running finish priority

local stop = load_conf(ARGV[1])
if stop then return stop end
begin_freeing()
local limit = tonumber(ARGV[2])
local promoted, expired = 0, 0

local overdue = call('ZRANGEBYSCORE', STARTBY_SET, '-inf', now, 'LIMIT', 0, limit)
local envelopes, records = hash_many(TASKS, overdue), hash_many(RECORDS, overdue)
local gone = {}
for i, id in ipairs(overdue) do
  local rec = records[i] and rec_unpack(records[i])
  local e = envelopes[i] and env_unpack(envelopes[i])
  if e and (not rec or rec.state == QUEUED or rec.state == SCHEDULED or rec.state == PARKED) then
    withdraw(id, rec, e)
    finish(id, rec or rec_fresh(e, QUEUED, 0), EXPIRED)
    gone[id] = true
    expired = expired + 1
  elseif not rec or rec.state ~= DISPATCHED then
    if rec and SETS[rec.state] then
      heal(id, rec)
      if e then withdraw(id, rec, e) end
    end
    unstartby[#unstartby + 1] = id
  end
end

local due = call('ZRANGEBYSCORE', SCHEDULED_SET, '-inf', now, 'LIMIT', 0, limit)
envelopes, records = hash_many(TASKS, due), hash_many(RECORDS, due)
for i, id in ipairs(due) do
  local rec = records[i] and rec_unpack(records[i])
  local e = envelopes[i] and env_unpack(envelopes[i])
  leave.scheduled[#leave.scheduled + 1] = id
  if e and not gone[id] then
    if not rec then
      local score = charge(e.lane, e.prio, e.tenant)
      place(id, e.lane, score, e.tenant, nil, function() return rec_fresh(e, PARKED, score) end)
      promoted = promoted + 1
    elseif rec.state == SCHEDULED then
      come_due(id, rec, e)
      promoted = promoted + 1
    else
      heal(id, rec)
    end
  end
end
wake(finish_flush())
local first = call('ZRANGE', SCHEDULED_SET, 0, 0, 'WITHSCORES')
return {'ok', now, promoted, expired, first[2] and math.max(0, math.ceil(tonumber(first[2]) - now)) or -1}
