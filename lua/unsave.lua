-- unsave: forgets the checkpoints of tasks that nobody runs: those that succeeded need none, others then begin anew.
-- KEYS: meta records notes
-- ARGV: conf, 1 when only those of tasks that succeeded are to go else 0, id...
-- RETURNS: {'ok', now, codes}: one byte per task: 1 nothing is saved of it any more, 0 it stays
-- IDEMPOTENT: yes
-- USES: base record

local stop = load_conf(ARGV[1])
if stop then return stop end
begin_freeing()
local codes, freed = {}, 0
for at = 3, #ARGV do
  local id, code = ARGV[at], 1
  local stored, raw = call('HGET', NOTES, id), call('HGET', RECORDS, id)
  local h, rec = stored and cmsgpack.unpack(stored), raw and rec_unpack(raw)
  if h and rec and h.k > 0 then
    local held = rec.state == RUNNING or rec.state == DISPATCHED
    if held or (ARGV[2] == '1' and rec.state ~= SUCCEEDED) then
      code = 0
    else
      rec.size = rec.size - h.k
      if rec.state == SUCCEEDED or rec.state == CANCELLED or rec.state == EXPIRED then freed = freed + h.k end
      h.k, h.ka, h.kt = 0, nil, nil
      call('HSET', NOTES, id, cmsgpack.pack(h)) -- (from here on there is none, whoever looks)
      call('HDEL', NOTES, id .. 's')
      call('HSET', RECORDS, id, rec_pack(rec))
    end
  end
  codes[#codes + 1] = char(code)
end
if freed > 0 then call('HINCRBY', META, 'finished_bytes', -freed) end
return {'ok', now, table.concat(codes)}
