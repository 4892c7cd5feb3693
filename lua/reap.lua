-- reap: returns what dead workers held, and what was dispatched but not started in time.
-- KEYS: meta tasks records errors scheduled parked held dispatched startby cancelling succeeded dead cancelled expired tenants vtime running idem idemexp outbox wake wake_tend workers beats partitions replies lanes*
-- ARGV: conf, run id of Redis, longest normal gap between two ticks (ms), page
-- RETURNS: {'ok' | 'grace', now, dead workers, returned from them, returned by the dispatch deadline, more to do (0 or 1)}
-- IDEMPOTENT: yes
-- USES: base record packed outbox lanes running finish slots farewell

local stop = load_conf(ARGV[1])
if stop then return stop end
begin_freeing()
local page = tonumber(ARGV[4])

-- After a silence (Redis was away, or restarted, or its clock moved) everybody gets a full lease before anything is reaped.
local head = call('HMGET', META, 'reap_at', 'reap_run', 'reap_grace')
local gap = now - tonumber(head[1] or 0)
local grace = tonumber(head[3] or 0)
if gap > tonumber(ARGV[3]) or gap < 0 or head[2] ~= ARGV[2] then
  grace = now + conf.lease_ms
  call('HSET', META, 'reap_run', ARGV[2], 'reap_grace', grace)
end
call('HSET', META, 'reap_at', now)

local late = call('ZRANGEBYSCORE', DISPATCHED_SET, '-inf', now, 'LIMIT', 0, page)
local raws = hash_many(RECORDS, late)
local overdue = 0
for i, id in ipairs(late) do
  local rec = raws[i] and rec_unpack(raws[i])
  if rec and rec.state == DISPATCHED then
    if rec.flags < 3 * F_LATE then rec.flags = rec.flags + F_LATE end
    give_back(id, rec, nil)
    overdue = overdue + 1
  else
    undispatched[#undispatched + 1] = id
  end
end
local ready, freed = finish_flush()
wake(math.max(ready, math.min(1, freed))) -- (a place came free)
if now < grace and grace <= now + conf.lease_ms then return {'grace', now, 0, 0, overdue, 0} end

local dead, returned, more = 0, 0, #late >= page
local silent = call('ZRANGEBYSCORE', BEATS, '-inf', now - conf.lease_ms, 'LIMIT', 0, 2)
for _, inc in ipairs(silent) do
  local n, left = farewell(inc, page, true)
  returned = returned + n
  if not left then dead = dead + 1 end
  more = more or left or #silent > 1
end
return {'ok', now, dead, returned, overdue, more and 1 or 0}
