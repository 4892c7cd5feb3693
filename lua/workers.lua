-- workers: who is registered, and what each holds: a light read that changes nothing.
-- KEYS: meta workers beats held
-- ARGV: conf, how many tasks of each to name
-- RETURNS: {'ok', now, then per worker: incarnation, registration (msgpack), last beat (ms), held, ids of the first held}
-- IDEMPOTENT: yes
-- USES: base

local stop = load_conf(ARGV[1])
if stop then return stop end
local reply = {'ok', now}
local all = call('HGETALL', WORKERS)
for i = 1, #all, 2 do
  local inc = all[i]
  local from, to = '[' .. inc, '[' .. inc .. string.rep('\255', ID + 1)
  local members = call('ZRANGEBYLEX', HELD, from, to, 'LIMIT', 0, tonumber(ARGV[2]))
  local ids = {}
  for n, member in ipairs(members) do ids[n] = sub(member, 9) end
  local at = #reply
  reply[at + 1], reply[at + 2], reply[at + 3] = inc, all[i + 1], tonumber(call('ZSCORE', BEATS, inc) or 0)
  reply[at + 4], reply[at + 5] = call('ZLEXCOUNT', HELD, from, to), table.concat(ids)
end
return reply
