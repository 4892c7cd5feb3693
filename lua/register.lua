-- register: a new incarnation of a worker; it adopts what its last one really runs, all else of that goes back.
-- KEYS: meta tasks records errors scheduled parked held dispatched startby cancelling succeeded dead cancelled expired tenants vtime running idem idemexp outbox wake wake_tend workers beats partitions lanes*
-- ARGV: conf, incarnation (8 bytes), name, mode, slots, window, partitions, schema, run id, last incarnation or '',
--   adopted items (c14 d: id, fence)
-- RETURNS: {'ok', now, partition or -1, adopted ids}
-- IDEMPOTENT: yes
-- USES: base record packed outbox lanes running finish

local stop = load_conf(ARGV[1])
if stop then return stop end
begin_freeing()
local inc, last = ARGV[2], ARGV[10]
local slots, partitions = tonumber(ARGV[5]), tonumber(ARGV[7])

-- The beat comes first: whatever else a call that fails half-way leaves, the reaper finds it by that.
local known = call('HEXISTS', WORKERS, inc) == 1
if not known then call('ZADD', BEATS, now, inc) end

-- The partition that the fewest workers use; with more workers than partitions, some share one.
local partition = tonumber(call('HGET', PARTITIONS, inc) or -1)
if partition < 0 and partitions > 0 then
  local used = {}
  for _, p in ipairs(call('HVALS', PARTITIONS)) do used[tonumber(p)] = (used[tonumber(p)] or 0) + 1 end
  partition = 0
  for p = 1, partitions - 1 do
    if (used[p] or 0) < (used[partition] or 0) then partition = p end
  end
  call('HSET', PARTITIONS, inc, partition)
end
local adopted, drained = {}, false
if last ~= '' then
  local old = call('HGET', WORKERS, last)
  if old then
    local reg = cmsgpack.unpack(old)
    drained = reg.st == 3 or reg.dr or false -- (a drain that was asked for holds for what follows it)
    reg.st, reg.dr = 5, drained
    call('HSET', WORKERS, last, cmsgpack.pack(reg))
    call('ZADD', BEATS, 0, last)
  end
  local blob, mine, order = ARGV[11], {}, {}
  for i = 1, math.floor(#blob / (ID + 8)) do
    local id, fence = struct.unpack('>c14d', blob, (i - 1) * (ID + 8) + 1)
    mine[id] = fence
    order[#order + 1] = id
  end
  -- Adopted already, by a call whose answer was lost.
  for i, raw in ipairs(hash_many(RECORDS, order)) do
    local rec = raw and rec_unpack(raw)
    if rec and rec.state == RUNNING and rec.holder == inc and rec.fence == mine[order[i]] then
      adopted[#adopted + 1] = order[i]
    end
  end
  local held = call('ZRANGEBYLEX', HELD, '[' .. last, '[' .. last .. string.rep('\255', ID + 1), 'LIMIT', 0, 10000)
  local ids = {}
  for i, member in ipairs(held) do ids[i] = string.sub(member, 9) end
  local raws, moves = hash_many(RECORDS, ids), {}
  for i, id in ipairs(ids) do
    local rec = raws[i] and rec_unpack(raws[i])
    if not rec or rec.holder ~= last then
      if rec then heal(id, rec) end
      unheld[#unheld + 1] = held[i]
    elseif rec.state == RUNNING and mine[id] == rec.fence then
      rec.holder = inc
      moves[#moves + 1] = 0
      moves[#moves + 1] = inc .. id
      unheld[#unheld + 1] = held[i]
      adopted[#adopted + 1] = id
      write_record(id, rec)
    elseif rec.state == RUNNING or rec.state == DISPATCHED then
      give_back(id, rec, nil)
    else
      heal(id, rec)
      unheld[#unheld + 1] = held[i]
    end
  end
  call_many('ZADD', HELD, moves)
end
if not known then
  call('HSET', WORKERS, inc, cmsgpack.pack({
    n = ARGV[3], m = ARGV[4], s = slots, w = tonumber(ARGV[6]), st = drained and 3 or 1, p = partition, sc = tonumber(ARGV[8]),
    run = ARGV[9], at = now,
  }))
end
wake(finish_flush())
return {'ok', now, partition, table.concat(adopted)}
