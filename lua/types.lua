-- types: the task types of applications that workers announced within some time, the application that came last at the end.
-- KEYS: meta types
-- ARGV: conf, ms
-- RETURNS: {'ok', now, types (msgpack) per application}
-- IDEMPOTENT: yes
-- USES: base

local stop = load_conf(ARGV[1])
if stop then return stop end
local stored = call('HGET', TYPES, '#')
local names, apps = {}, stored and cmsgpack.unpack(stored) or {}
for name, times in pairs(apps) do
  if times[2] >= now - tonumber(ARGV[2]) then names[#names + 1] = name end
end
table.sort(names, function(a, b) return apps[a][1] < apps[b][1] or (apps[a][1] == apps[b][1] and a < b) end)
local reply = {'ok', now}
for _, types in ipairs(hash_many(TYPES, names)) do
  if types then reply[#reply + 1] = types end
end
return reply
