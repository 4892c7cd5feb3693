-- extend: a running task's holder asks whether the task is still its own, and says that it still works on it.
-- KEYS: meta records
-- ARGV: conf, incarnation (8 bytes), id, fence
-- RETURNS: {'ok' | 'stale', now, 1 when its cancellation is requested else 0}
-- IDEMPOTENT: yes
-- USES: base record

local stop = load_conf(ARGV[1])
if stop then return stop end
begin_freeing()
local raw = call('HGET', RECORDS, ARGV[3])
local rec = raw and rec_unpack(raw)
if not rec or rec.state ~= RUNNING or rec.holder ~= ARGV[2] or rec.fence ~= tonumber(ARGV[4]) then
  return {'stale', now, 0}
end
rec.since = now
call('HSET', RECORDS, ARGV[3], rec_pack(rec))
return {'ok', now, has(rec.flags, F_CANCEL) and 1 or 0}
