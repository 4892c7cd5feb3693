-- farewell: takes everything from an incarnation that ends or is dead, a page at a time.
-- KEYS: workers beats partitions replies held
-- The incarnation is marked dead first and forgotten last, so nobody claims for it in between.

local function farewell(inc, page, crashed)
  local raw = call('HGET', WORKERS, inc)
  local reg = raw and cmsgpack.unpack(raw) or {n = '?', st = 5}
  if reg.st ~= 5 then
    reg.st = 5
    call('HSET', WORKERS, inc, cmsgpack.pack(reg))
  end
  local held = call('ZRANGEBYLEX', HELD, '[' .. inc, '[' .. inc .. string.rep('\255', ID + 1), 'LIMIT', 0, page)
  local ids = {}
  for i, member in ipairs(held) do ids[i] = string.sub(member, 9) end
  local raws = hash_many(RECORDS, ids)
  local why = crashed and cmsgpack.pack({
    kind = 'crash', message = 'worker ' .. reg.n .. ' stopped answering while it ran this task', at = now, worker = reg.n,
  })
  local returned = 0
  for i, id in ipairs(ids) do
    local rec = raws[i] and rec_unpack(raws[i])
    if not rec or rec.holder ~= inc then
      if rec then heal(id, rec) end
      unheld[#unheld + 1] = held[i]
    elseif rec.state == RUNNING or rec.state == DISPATCHED then
      give_back(id, rec, why)
      returned = returned + 1
    else
      heal(id, rec)
      unheld[#unheld + 1] = held[i]
    end
  end
  local ready, freed = finish_flush()
  wake(math.max(ready, math.min(1, freed))) -- (a place came free)
  local more = #held >= page
  if not more then
    call('HDEL', REPLIES, inc)
    call('HDEL', PARTITIONS, inc)
    call('HDEL', WORKERS, inc)
    call('ZREM', BEATS, inc)
    count_slots()
  end
  return returned, more
end
