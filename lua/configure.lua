-- configure: writes the live configuration; every other script compares its hash, so runtimes follow at once.
-- KEYS: meta conf records held running tenants wake wake_tend
-- ARGV: the hash that is expected to be in force ('' for none, '*' for any), new hash, new configuration (msgpack), the
--   part of it that scripts read (msgpack), then per tenant with settings of its own: name, settings (msgpack)
-- RETURNS: {'ok' | 'changed' (somebody else wrote first) | 'schema', hash in force}
-- IDEMPOTENT: yes
-- USES: base record recount

local head = call('HMGET', META, 'conf', 'schema', 'hot')
if tonumber(head[2] or SCHEMA) > SCHEMA then return {'schema', head[2]} end
if ARGV[1] ~= '*' and (head[1] or '') ~= ARGV[1] and head[1] ~= ARGV[2] then return {'changed', head[1] or ''} end
-- From now on tenants are counted: those that run already are as well. (First, since a repeated call would not know.)
if tenants_limited(cmsgpack.unpack(ARGV[4])) and not (head[3] and tenants_limited(cmsgpack.unpack(head[3]))) then
  recount(true)
end
call('SET', CONF, ARGV[3])
call('DEL', TENANTS)
for i = 5, #ARGV, 2 do call('HSET', TENANTS, ARGV[i], ARGV[i + 1]) end
call('HSET', META, 'conf', ARGV[2], 'schema', SCHEMA, 'hot', ARGV[4])
call('RPUSH', WAKE, '1')
call('RPUSH', WAKE_TEND, '1')
return {'ok', ARGV[2]}
