-- get: what is known of tasks, whole.
-- KEYS: meta tasks records errors results scheduled
-- ARGV: id...
-- RETURNS: per id: stored envelope or '', record or '', 1 when it is fresh and scheduled else 0, errors or '', result or ''
-- IDEMPOTENT: yes
-- USES: base record

local reply = {}
local ids = {unpack(ARGV)}
local envelopes, records = hash_many(TASKS, ids), hash_many(RECORDS, ids)
for i, id in ipairs(ids) do
  local rec = records[i] and rec_unpack(records[i])
  local scheduled = 0
  if envelopes[i] and not rec and call('ZSCORE', SCHEDULED_SET, id) then scheduled = 1 end
  reply[#reply + 1] = envelopes[i] or ''
  reply[#reply + 1] = records[i] or ''
  reply[#reply + 1] = scheduled
  reply[#reply + 1] = rec and has(rec.flags, F_ERRORS) and call('HGET', ERRORS, id) or ''
  reply[#reply + 1] = rec and has(rec.flags, F_RESULT) and call('HGET', RESULTS, id) or ''
end
return reply
