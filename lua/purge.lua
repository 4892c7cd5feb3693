-- purge: forgets ended tasks, by id or those past what is kept (by time, by count, by bytes).
-- KEYS: meta conf tasks records errors results notes succeeded dead cancelled expired
-- ARGV: conf, limit, id... (no id: those past what is kept)
-- RETURNS: {'ok', now, purged, more to do (0 or 1)}
-- IDEMPOTENT: yes
-- USES: base record

local stop = load_conf(ARGV[1])
if stop then return stop end
begin_freeing()
conf = cmsgpack.unpack(call('GET', CONF)) -- (what is kept is not among what scripts read on each call)
local limit = tonumber(ARGV[2])
local SETS = {[SUCCEEDED] = SUCCEEDED_SET, [DEAD] = DEAD_SET, [CANCELLED] = CANCELLED_SET, [EXPIRED] = EXPIRED_SET}
local ids, more = {unpack(ARGV, 3)}, false
if #ids == 0 then
  local over = tonumber(call('HGET', META, 'finished_bytes') or 0) > conf.keep_bytes and conf.keep_bytes > 0
  for state, set in pairs(SETS) do
    local keep = conf.keep[state == DEAD and 'dead' or 'ended']
    local room = limit - #ids
    if room <= 0 then
      more = true
      break
    end
    local excess = keep.n > 0 and call('ZCARD', set) - keep.n or 0
    if over and state ~= DEAD then excess = math.max(excess, math.min(room, call('ZCARD', set))) end
    local old = {}
    if excess > 0 then
      old = call('ZRANGEBYSCORE', set, '-inf', now - conf.keep_least_ms, 'LIMIT', 0, math.min(excess, room))
    elseif keep.ms > 0 then
      old = call('ZRANGEBYSCORE', set, '-inf', now - keep.ms, 'LIMIT', 0, room)
    end
    for _, id in ipairs(old) do ids[#ids + 1] = id end
    more = more or #old >= room
  end
end

-- What an earlier call began and did not finish.
local pending = call('HGET', META, 'purging')
for pos = 1, pending and #pending or 0, ID do
  local id = string.sub(pending, pos, pos + ID - 1)
  if call('HGET', TASKS, id) == '' then ids[#ids + 1] = id end
end

local records = hash_many(RECORDS, ids)
local envelopes = hash_many(TASKS, ids)
local blanks, going, bytes, sets = {}, {}, 0, {}
local purged = tonumber(call('HGET', TASKS, '#p') or 0)
local fresh = 0
for i, id in ipairs(ids) do
  local rec = records[i]
  local state = rec and byte(rec, 1)
  if #id == ID and envelopes[i] == '' then
    going[#going + 1] = id
  elseif rec and SETS[state] and envelopes[i] and not sets[id] then
    sets[id] = true
    fresh = fresh + 1
    if state ~= DEAD then bytes = bytes + unpacked('>I4', rec, 8) end -- (see packed: its size)
    going[#going + 1] = id
    blanks[#blanks + 1] = id
    blanks[#blanks + 1] = ''
  end
end
-- Blanking the envelopes and counting them is one command; after a failure the next purge does what follows.
if #going > 0 then call('HSET', META, 'purging', table.concat(going)) end
if #blanks > 0 then
  blanks[#blanks + 1] = '#p'
  blanks[#blanks + 1] = purged + fresh
  call('HSET', TASKS, unpack(blanks))
  if bytes > 0 then call('HINCRBY', META, 'finished_bytes', -bytes) end -- (-0 is no integer to Redis)
end
if #going > 0 then
  if call('HLEN', ERRORS) > 0 then call_many('HDEL', ERRORS, going) end
  if call('HLEN', RESULTS) > 0 then call_many('HDEL', RESULTS, going) end
  -- What handlers told of themselves (see note.lua); most queues have none. A head goes last: it tells of the rest.
  if call('HLEN', NOTES) > 0 then
    local parts, heads = {}, {}
    for i, raw in ipairs(hash_many(NOTES, going)) do
      if raw then
        heads[#heads + 1] = going[i]
        parts[#parts + 1] = going[i] .. 's'
        for slot = 0, math.min(cmsgpack.unpack(raw).z, 32) - 1 do parts[#parts + 1] = going[i] .. string.char(slot) end
      end
    end
    call_many('HDEL', NOTES, parts)
    call_many('HDEL', NOTES, heads)
  end
  call_many('HDEL', RECORDS, going)
  for _, set in pairs(SETS) do
    if call('ZCARD', set) > 0 then call_many('ZREM', set, going) end
  end
  call_many('HDEL', TASKS, going)
end
if pending or #going > 0 then call('HDEL', META, 'purging') end
return {'ok', now, fresh, more and 1 or 0}
