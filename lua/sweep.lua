-- sweep: mends slowly what slipped: running counts, forgotten idempotency keys, parked tenants with room, idle state.
-- KEYS: meta tasks records errors scheduled parked held dispatched startby cancelling succeeded dead cancelled expired tenants vtime running idem idemexp outbox wake wake_tend workers buckets lanes*
-- ARGV: conf, cursor ('' to begin, else what the last call returned), limit
-- RETURNS: {'ok', now, next cursor ('' when done), unparked, keys forgotten}
-- IDEMPOTENT: yes
-- USES: base record packed outbox lanes running recount finish slots

local stop = load_conf(ARGV[1])
if stop then return stop end
begin_freeing()
local limit = tonumber(ARGV[3])

if ARGV[2] == '' then
  recount(tenants_limited(conf), function(member, id, rec)
    if rec then heal(id, rec) end
    unheld[#unheld + 1] = member
  end)
  -- Requests to stop whose task does not run any more.
  local marked = call('SRANDMEMBER', CANCELLING, limit)
  for i, raw in ipairs(hash_many(RECORDS, marked)) do
    local rec = raw and rec_unpack(raw)
    if not rec or rec.state ~= RUNNING or not has(rec.flags, F_CANCEL) then
      uncancelling[#uncancelling + 1] = marked[i]
    end
  end
  count_slots()
end

local KEYS_AT_ONCE = 500
local keys = call('ZRANGEBYSCORE', IDEMEXP, '-inf', now, 'LIMIT', 0, KEYS_AT_ONCE)
call_many('ZREM', IDEMEXP, keys)
call_many('HDEL', IDEM, keys)

-- The cursor is '=' and the tenant seen last (which may be the one without a name), or '~' when only keys and idle
-- tenants' state are left.
local cursor, unparked = ARGV[2], 0
for _ = 1, cursor == '~' and 0 or limit do
  local from = cursor == '' and '-' or '(' .. string.sub(cursor, 2) .. '\1'
  local member = call('ZRANGEBYLEX', PARKED_SET, from, '+', 'LIMIT', 0, 1)[1]
  if not member then
    cursor = '~'
    break
  end
  local tenant = string.sub(member, 1, string.find(member, '\0', 1, true) - 1)
  cursor = '=' .. tenant
  unparked = unparked + unpark_all({[tenant] = true})
end
local more = #keys >= KEYS_AT_ONCE

-- Idle tenants leave their virtual time and their (full) buckets behind.
for _, key in ipairs({VTIME, BUCKETS}) do
  if call('HLEN', key) > 1000 then
    local from = call('HGET', META, 'scan:' .. key) or '0'
    local page = call('HSCAN', key, from, 'COUNT', 500)
    local idle = {}
    for i = 1, #page[2], 2 do
      local field, value = page[2][i], page[2][i + 1]
      if key == VTIME then
        -- A tenant's time counts only while it is ahead of its lane's. An empty lane moves up to it: nobody waits there.
        local lane_n, lane_field = string.match(field, '^((%d+):%d):')
        lane_n, lane_field = tonumber(lane_field), lane_n
        local lane = lane_n and lane_by_n[lane_n]
        local empty = not lane or call('ZCARD', lane.key) == 0
        if lane_field and (empty or tonumber(value) <= vt_get(lane_field)) then
          idle[#idle + 1] = field
          if lane and tonumber(value) > vt_get(lane_field) then vt_set(lane_field, tonumber(value)) end
        end
      else
        local tokens, at = struct.unpack('>dd', value)
        local t = string.sub(field, 1, 1) == 't' and tenant_conf(string.sub(field, 2))
        if t and (t.rate <= 0 or tokens + (now_us - at) * t.rate / 1000000 >= math.max(1, t.burst)) then
          idle[#idle + 1] = field
        end
      end
    end
    call_many('HDEL', key, idle)
    call('HSET', META, 'scan:' .. key, page[1])
    more = more or page[1] ~= '0'
  end
end
if cursor == '~' and not more then cursor = '' end
wake(finish_flush() + unparked)
return {'ok', now, cursor, unparked, #keys}
