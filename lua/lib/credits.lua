-- credits: when tasks that left a worker are worth waking somebody for.
-- KEYS: workers held lanes*

-- Wakes for READY tasks, or for FREED ones whose places others may take. A token for each small batch of a busy worker that
-- reads from Kafka would have pollers hand out crumbs: while most of its credits are on their way to it, it does not run
-- dry, and whoever comes next waits as long for a credit more as behind a task more. Where a lane has a limit, what came
-- free may be another worker's.
local function wake_for_freed(inc, ready, freed)
  if ready > 0 then return wake(ready) end
  if freed == 0 then return end
  local waits, limited = false, false
  for at, lane in ipairs(conf.lanes) do
    waits = waits or call('ZCARD', LANES[at]) > 0
    limited = limited or lane.max > 0
  end
  if not waits then return end -- (whoever submits wakes)
  local raw = not limited and call('HGET', WORKERS, inc)
  local reg = raw and cmsgpack.unpack(raw)
  if reg and reg.st == 2 and reg.m == 'kafka' then
    local held = call('ZLEXCOUNT', HELD, '[' .. inc, '[' .. inc .. string.rep('\255', ID + 1))
    if reg.w - held < math.floor((reg.w - reg.s) / 6) then return end
  end
  wake(1)
end
