-- stats: the sizes of the real sets, so that conservation can be checked, and the workers.
-- KEYS: meta tasks scheduled parked held dispatched succeeded dead cancelled expired blocked running outbox workers beats lanes*
-- ARGV: conf
-- RETURNS: {'ok', now, {name, number, ...}, {lane number, queued, running, oldest id or '', ...},
--   {incarnation, registration (msgpack), last beat (ms), held, ...}}
-- IDEMPOTENT: yes
-- USES: base record

local stop = load_conf(ARGV[1])
if stop then return stop end
local counts = call('HMGET', TASKS, '#', '#p')
local lanes, queued = {}, 0
for i, lane in ipairs(conf.lanes) do
  local n = call('ZCARD', LANES[i])
  queued = queued + n
  local first = call('ZRANGE', LANES[i], 0, 0)[1] or ''
  for _, v in ipairs({lane.n, n, tonumber(call('HGET', RUNNING_COUNTS, 'l' .. lane.n) or 0), first}) do
    lanes[#lanes + 1] = v
  end
end
local dispatched = call('ZCARD', DISPATCHED_SET)
local meta = call('HMGET', META, 'outbox_bytes', 'outbox_gap', 'finished_bytes')
local numbers = {
  'submitted', tonumber(counts[1] or 0), 'purged', tonumber(counts[2] or 0), 'queued', queued,
  'scheduled', call('ZCARD', SCHEDULED_SET), 'parked', call('ZCARD', PARKED_SET),
  'blocked', call('ZCARD', BLOCKED_SET), 'dispatched', dispatched, 'running', call('ZCARD', HELD) - dispatched,
  'succeeded', call('ZCARD', SUCCEEDED_SET), 'dead', call('ZCARD', DEAD_SET),
  'cancelled', call('ZCARD', CANCELLED_SET), 'expired', call('ZCARD', EXPIRED_SET),
  'outbox_bytes', tonumber(meta[1] or 0), 'outbox_gap', tonumber(meta[2] or 0),
  'finished_bytes', tonumber(meta[3] or 0), 'outbox_entries', call('XLEN', OUTBOX),
}
local workers, all = {}, call('HGETALL', WORKERS)
for i = 1, #all, 2 do
  local inc = all[i]
  workers[#workers + 1] = inc
  workers[#workers + 1] = all[i + 1]
  workers[#workers + 1] = tonumber(call('ZSCORE', BEATS, inc) or 0)
  workers[#workers + 1] = call('ZLEXCOUNT', HELD, '[' .. inc, '[' .. inc .. string.rep('\255', ID + 1))
end
return {'ok', now, numbers, lanes, workers}
