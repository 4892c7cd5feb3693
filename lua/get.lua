-- get: what is known of tasks, whole.
-- KEYS: meta tasks records errors results scheduled
-- ARGV: id...
-- RETURNS: per id: stored envelope or '', record or '', when it comes due (ms) if it is scheduled or '', errors or '', result or ''
-- IDEMPOTENT: yes
-- USES: base record

local reply = {}
local ids = {unpack(ARGV)}
local envelopes, records = hash_many(TASKS, ids), hash_many(RECORDS, ids)
for i, id in ipairs(ids) do
  local rec = records[i] and rec_unpack(records[i])
  local due = envelopes[i] and (not rec or rec.state == SCHEDULED) and call('ZSCORE', SCHEDULED_SET, id) or ''
  reply[#reply + 1] = envelopes[i] or ''
  reply[#reply + 1] = records[i] or ''
  reply[#reply + 1] = due
  reply[#reply + 1] = rec and has(rec.flags, F_ERRORS) and call('HGET', ERRORS, id) or ''
  reply[#reply + 1] = rec and has(rec.flags, F_RESULT) and call('HGET', RESULTS, id) or ''
end
return reply
