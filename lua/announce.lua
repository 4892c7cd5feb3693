-- announce: a worker says which task types its application has; applications that nobody announced for long are forgotten.
-- KEYS: meta types
-- ARGV: conf, application (a hash of its types), its types (msgpack) or '' to tell only that it is there, ms to remember it
-- RETURNS: {'ok', now, 1 when its types are known now else 0}
-- IDEMPOTENT: yes
-- USES: base

local stop = load_conf(ARGV[1])
if stop then return stop end
local app, types = ARGV[2], ARGV[3]
-- Field '#' has, per application, when it was announced first and last (ms); the field of its hash has its types.
local stored = call('HGET', TYPES, '#')
local apps = stored and cmsgpack.unpack(stored) or {}
local gone = {}
for name, times in pairs(apps) do
  if times[2] < now - tonumber(ARGV[4]) and name ~= app then gone[#gone + 1] = name end
end
for _, name in ipairs(gone) do apps[name] = nil end
local known = types ~= '' or call('HEXISTS', TYPES, app) == 1
if known then apps[app] = {apps[app] and apps[app][1] or now, now} end
local fields = {}
if types ~= '' then fields = {app, types} end
if next(apps) then
  fields[#fields + 1] = '#'
  fields[#fields + 1] = cmsgpack.pack(apps)
else
  gone[#gone + 1] = '#'
end
call_many('HSET', TYPES, fields)
call_many('HDEL', TYPES, gone)
return {'ok', now, known and 1 or 0}
