-- drain: asks a worker to take nothing new and to leave once what it runs has ended.
-- KEYS: meta workers wake
-- ARGV: conf, incarnation (8 bytes)
-- RETURNS: {'ok', now, code}: draining (it was asked, now or before), or unknown (no such worker lives)
-- IDEMPOTENT: yes
-- USES: base slots

local stop = load_conf(ARGV[1])
if stop then return stop end
local inc = ARGV[2]
local raw = call('HGET', WORKERS, inc)
local reg = raw and cmsgpack.unpack(raw)
if not reg or reg.st == 5 then return {'ok', now, 'unknown'} end
if reg.st ~= 3 then
  -- From here on no script hands it anything, and neither a beat nor a new registration of the same process ends that.
  reg.st = 3
  call('HSET', WORKERS, inc, cmsgpack.pack(reg))
end
count_slots()
-- It may be the one that waits for work: with the token its claim is made, and is told to drain. If another takes the
-- token, that one looks in vain, and passes it on only when there is work.
if call('RPUSH', WAKE, '1') > conf.wake_cap then call('LTRIM', WAKE, 0, conf.wake_cap - 1) end
return {'ok', now, 'draining'}
