-- configure: writes the live configuration; every other script compares its hash, so runtimes follow at once.
-- KEYS: meta conf tenants wake wake_tend
-- ARGV: the hash that is expected to be in force ('' for none, '*' for any), new hash, new configuration (msgpack), the
--   part of it that scripts read (msgpack), then per tenant with settings of its own: name, settings (msgpack)
-- RETURNS: {'ok' | 'changed' (somebody else wrote first) | 'schema', hash in force}
-- IDEMPOTENT: yes

local head = redis.call('HMGET', META, 'conf', 'schema')
if tonumber(head[2] or SCHEMA) > SCHEMA then return {'schema', head[2]} end
if ARGV[1] ~= '*' and (head[1] or '') ~= ARGV[1] and head[1] ~= ARGV[2] then return {'changed', head[1] or ''} end
redis.call('SET', CONF, ARGV[3])
redis.call('DEL', TENANTS)
for i = 5, #ARGV, 2 do redis.call('HSET', TENANTS, ARGV[i], ARGV[i + 1]) end
redis.call('HSET', META, 'conf', ARGV[2], 'schema', SCHEMA, 'hot', ARGV[4])
redis.call('RPUSH', WAKE, '1')
redis.call('RPUSH', WAKE_TEND, '1')
return {'ok', ARGV[2]}
