-- dispatch: a poller takes tasks for workers that read from Kafka, each for a live worker with credits left.
-- KEYS: meta tasks records errors scheduled parked held dispatched startby cancelling succeeded dead cancelled expired tenants vtime running buckets workers replies idem idemexp outbox wake wake_tend lanes*
-- ARGV: conf, limit
-- RETURNS: {'ok', now, ms until a lane at its rate may be asked again or -1, credits left,
--   holders (c8 i4 I4 each: incarnation, partition, how many of the tasks that follow are for it),
--   heads (c14 d H B B for each task), then per task: stored envelope}
-- IDEMPOTENT: no: after a lost reply the dispatch deadline returns the tasks
-- USES: base record packed outbox lanes running buckets finish claim

local stop = load_conf(ARGV[1])
if stop then return stop end
begin_freeing()

-- Credits are what a worker may hold less what it holds, never a counter of their own.
local workers, total, direct = {}, 0, false
local all = call('HGETALL', WORKERS)
for i = 1, #all, 2 do
  local reg = cmsgpack.unpack(all[i + 1])
  if reg.st == 2 and reg.m == 'kafka' then
    local held = held_of(all[i])
    local free = reg.w - held
    if free > 0 then
      workers[#workers + 1] = {inc = all[i], p = reg.p, free = free, load = held / math.max(1, reg.s)}
      total = total + free
    end
  elseif reg.m == 'direct' then
    direct = true
  end
end
table.sort(workers, function(a, b) return a.load < b.load or (a.load == b.load and a.inc < b.inc) end)

-- No more than there is, so that the quotas spread few tasks over all workers.
local waiting = 0
for _, key in ipairs(LANES) do waiting = waiting + call('ZCARD', key) end
local limit = math.min(tonumber(ARGV[2]), total, waiting)
local at, given, partitions = 1, 0, {}
for _, w in ipairs(workers) do
  partitions[w.inc] = w.p
  w.quota = math.min(w.free, math.ceil(limit * w.free / math.max(1, total)))
end
local function next_holder()
  while at <= #workers do
    local w = workers[at]
    if given < w.quota then
      given = given + 1
      return w.inc
    end
    at, given = at + 1, 0
  end
  return nil
end

if limit > 0 then claim_batch(limit, next_holder, DISPATCHED) end
wake(claim_flush())
local left = total > #claimed and work_left() -- (it also tells when a lane at its rate may be asked again)
local holders, run = {}, 0
for i, inc in ipairs(claimed_by) do
  run = run + 1
  if claimed_by[i + 1] ~= inc then
    holders[#holders + 1] = struct.pack('>c8i4I4', inc, partitions[inc], run)
    run = 0
  end
end
local reply = {'ok', now, soonest or -1, total - #claimed, table.concat(holders), table.concat(claimed)}
for i = 1, #claimed_raws do reply[6 + i] = claimed_raws[i] end
if left then
  wake(1)
elseif not direct then
  call('DEL', WAKE) -- what the tokens tell of was seen: those that wait for them would find nothing
end
return reply
