-- release: dispatched tasks that their worker will not get or will not start go back, with no attempt burnt.
-- KEYS: meta tasks records errors scheduled parked held dispatched startby cancelling succeeded dead cancelled expired tenants vtime running idem idemexp outbox wake wake_tend lanes*
-- ARGV: conf, items (c8 c14 d: holder, id, fence)
-- RETURNS: {'ok', now, released}
-- IDEMPOTENT: yes, by holder and fence
-- USES: base record packed outbox lanes running finish

local stop = load_conf(ARGV[1])
if stop then return stop end
begin_freeing()
local blob = ARGV[2]
local size = 8 + ID + 8
local released, seen = 0, {}
for i = 1, math.floor(#blob / size) do
  local holder, id, fence = struct.unpack('>c8c14d', blob, (i - 1) * size + 1)
  local raw = not seen[id] and call('HGET', RECORDS, id)
  local rec = raw and rec_unpack(raw)
  if rec and rec.state == DISPATCHED and rec.holder == holder and rec.fence == fence then
    seen[id] = true
    released = released + 1
    give_back(id, rec, nil)
  end
end
local ready, freed = finish_flush()
wake(math.max(ready, math.min(1, freed))) -- (a place came free)
return {'ok', now, released}
