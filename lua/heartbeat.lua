-- heartbeat: a worker lives; it says what it runs and learns what it lost, what to cancel and whether to drain.
-- KEYS: meta tasks records errors scheduled parked held dispatched startby cancelling succeeded dead cancelled expired tenants vtime running idem idemexp outbox wake wake_tend workers beats lanes*
-- ARGV: conf, incarnation (8 bytes), run id, state (2 announced, 3 draining, 4 stalled), slots, window,
--   running items (c14: id), 1 to give back what the worker does not know else 0, tasks whose handlers ended since the
--   last beat, ms that those took together
-- RETURNS: {'ok' | 'gone' | 'epoch' | 'conf', now, state, lost ids, ids to cancel}
-- IDEMPOTENT: yes (a beat told twice weighs twice in the average of running times)
-- USES: base record packed outbox lanes running finish slots

begin_freeing()
local inc = ARGV[2]
local raw = call('HGET', WORKERS, inc)
local reg = raw and cmsgpack.unpack(raw)
if not reg or reg.st == 5 then return {'gone', now} end
if reg.run ~= ARGV[3] then return {'epoch', now} end
call('ZADD', BEATS, now, inc)
local stop = load_conf(ARGV[1])
if stop then return stop end

-- A drain asked for from outside stays; a stalled worker that moves again is announced again.
local state, slots, window = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
if reg.st == 3 then state = 3 end
if reg.st ~= state or reg.s ~= slots or reg.w ~= window then
  reg.st, reg.s, reg.w = state, slots, window
  call('HSET', WORKERS, inc, cmsgpack.pack(reg))
  count_slots()
  wake(1)
end

-- How long handlers run, on average: of about the last minute, or of the last 20 where those reach further back. It stays
-- while nobody works, so that a queue whose workers have all gone still knows it.
local ended, took = tonumber(ARGV[9]), tonumber(ARGV[10])
if ended > 0 then
  local ran = call('HMGET', META, 'ran_n', 'ran_ms', 'ran_at')
  local n, ms, age = tonumber(ran[1] or 0), tonumber(ran[2] or 0), math.max(0, now - tonumber(ran[3] or now))
  local keep = math.max(0.5 ^ (age / 60000), math.min(1, 20 / n))
  call('HSET', META, 'ran_n', n * keep + ended, 'ran_ms', ms * keep + took, 'ran_at', now)
end

local known, order, blob = {}, {}, ARGV[7]
for pos = 1, #blob, ID do
  local id = string.sub(blob, pos, pos + ID - 1)
  known[id] = true
  order[#order + 1] = id
end
local held = call('ZRANGEBYLEX', HELD, '[' .. inc, '[' .. inc .. string.rep('\255', ID + 1))
local here, suspects = {}, {}
for _, member in ipairs(held) do
  local id = string.sub(member, 9)
  here[id] = true
  if not known[id] then suspects[#suspects + 1] = id end
end
-- Held here for longer than two beats and unknown to the worker: the reply that handed it over was lost.
local raws = hash_many(RECORDS, suspects)
for i, id in ipairs(suspects) do
  local rec = raws[i] and rec_unpack(raws[i])
  if not rec or rec.holder ~= inc then
    if rec then heal(id, rec) end
    unheld[#unheld + 1] = inc .. id
  elseif rec.state == RUNNING then
    if ARGV[8] ~= '0' and rec.since < now - 2 * conf.beat_ms then give_back(id, rec, nil) end
  elseif rec.state == DISPATCHED then
    if state ~= 2 then give_back(id, rec, nil) end
  else
    heal(id, rec)
    unheld[#unheld + 1] = inc .. id
  end
end
local ready, freed = finish_flush()
wake(math.max(ready, math.min(1, freed))) -- (a place came free)

local lost, cancel = {}, {}
for _, id in ipairs(order) do
  if not here[id] then lost[#lost + 1] = id end
end
if #order > 0 and call('SCARD', CANCELLING) > 0 then
  local flags = call('SMISMEMBER', CANCELLING, unpack(order, 1, math.min(#order, 4000)))
  for i, flag in ipairs(flags) do
    if flag == 1 and here[order[i]] then cancel[#cancel + 1] = order[i] end
  end
end
return {'ok', now, state, table.concat(lost), table.concat(cancel)}
