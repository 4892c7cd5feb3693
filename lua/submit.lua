-- submit: takes a batch of new tasks; each is taken whole or refused whole, with its own result.
-- KEYS: meta tasks records scheduled parked startby tenants vtime buckets idem idemexp outbox wake wake_tend lanes*
-- ARGV: conf, then per task: id (14 bytes), envelope
-- RETURNS: {'ok', now, then per task that was not simply accepted: index, code, detail}
--   codes: duplicate (id of the first), conflict (id of the first), rate (ms, scope), depth (limit), lane (number),
--   malformed, backlog (ms)
-- IDEMPOTENT: yes, by task id and by idempotency key
-- USES: base record outbox lanes buckets

local stop = load_conf(ARGV[1])
if stop then return stop end

local n = (#ARGV - 1) / 2
if n > 999 then return redis.error_reply('LANEWAY at most 999 tasks in one call') end
local ids = {}
for i = 1, n do ids[i] = ARGV[2 * i] end
ids[n + 1] = '#'
local known = hash_many(TASKS, ids)
local submitted = tonumber(known[n + 1] or 0)

local depth = 0
if conf.max_depth > 0 then
  depth = call('ZCARD', SCHEDULED_SET) + call('ZCARD', PARKED_SET)
  for _, key in ipairs(LANES) do depth = depth + call('ZCARD', key) end
end
local backlog = outbox_waiting >= conf.outbox_soft

local reply = {'ok', now}
local function refuse(i, code, detail)
  reply[#reply + 1] = i
  reply[#reply + 1] = code
  reply[#reply + 1] = detail
end

-- Every bucket that this task must pass, and which one it waits for longest.
local function admit(e, lane)
  local t = tenant_conf(e.tenant)
  if conf.rate == 0 and lane.rate == 0 and t.rate == 0 then return 0 end
  local wants = {
    {'q', conf.rate, conf.burst, 'queue'}, {'l' .. e.lane, lane.rate, lane.burst, 'lane'},
    {'t' .. e.tenant, t.rate, t.burst, 'tenant'},
  }
  local longest, scope = 0, nil
  for _, w in ipairs(wants) do
    if w[2] > 0 then
      local wait = bucket_wait(bucket(w[1], w[2], w[3]))
      if wait > longest then longest, scope = wait, w[4] end
    end
  end
  if scope then return longest, scope end
  for _, w in ipairs(wants) do
    if w[2] > 0 then bucket_take(w[1], bucket(w[1], w[2], w[3]), 1) end
  end
  return 0
end

-- The task that holds an idempotency key. A key whose task is neither here nor finished was written by a
-- call that failed before it wrote the task: it holds nothing.
local over = {}
local function key_holder(key)
  local value = call('HGET', IDEM, key)
  if not value then return nil end
  local ends = call('ZSCORE', IDEMEXP, key)
  if ends and tonumber(ends) <= now then
    over[#over + 1] = key -- its time is over, though no sweep has been here
    return nil
  end
  if not ends and call('HEXISTS', TASKS, string.sub(value, 1, ID)) == 0 then return nil end
  return value
end

-- Whether what is here under an id is what was sent: the same but for what the configuration decides (the number of
-- its lane), which may have changed since the first try.
local function same_task(before, sent, e)
  if before == sent then return true end
  local b = env_unpack(before, 6)
  return b and b.flags == e.flags and string.sub(before, b.tail) == string.sub(sent, e.tail)
end

local stamp = struct.pack('>I6', now)
local task_writes, schedule_adds, startby_adds, idem_writes = {}, {}, {}, {}
local seen, seen_keys = {}, {}
local accepted = 0

local function accept(id, sent)
  accepted = accepted + 1
  seen[id] = sent
  local at = #task_writes
  task_writes[at + 1] = id
  task_writes[at + 2] = stamp .. sent
end

-- Takes a task of which nothing special is said, as most are; false when it is another. What those with the same head
-- of an envelope have in common is found out once.
local unlimited = conf.rate == 0 and conf.max_depth == 0 and not backlog and not conf.overrides
  and conf.tenant.rate == 0 and conf.tenant.max == 0
local plain_kinds = {}

local function plain_kind(head)
  local schema, flags, lane_n, prio, _, tenant_len, idem_len = byte(head, 1, 7)
  if not idem_len or schema ~= SCHEMA or flags ~= 0 or prio > 9 or idem_len ~= 0 then return false end
  local lane = lane_by_n[lane_n]
  if not lane or lane.conf.gone or lane.conf.rate > 0 then return false end
  return {lane = lane_n, prio = prio, tenant_len = tenant_len, told = emitted('submitted'), tail = emit_tail(lane_n, 0)}
end

local function accept_plainly(id, sent)
  if #id ~= ID then return false end
  local head = sub(sent, 1, 7)
  local kind = plain_kinds[head]
  if kind == nil then
    kind = plain_kind(head)
    plain_kinds[head] = kind
  end
  if not kind then return false end
  local tenant = ''
  if kind.tenant_len > 0 then
    if #sent < 7 + kind.tenant_len then return false end
    tenant = sub(sent, 8, 7 + kind.tenant_len)
    if string.find(tenant, '\0', 1, true) then return false end
  end
  accept(id, sent)
  enqueue(id, kind.lane, charge(kind.lane, kind.prio, tenant))
  local told = kind.told
  local n = #told
  told[n + 1] = id
  told[n + 2] = kind.tail
  return true
end

-- Takes any other task, or says why not: code and detail.
local function submit_one(id, sent, before)
  local e = #id == ID and env_unpack(sent, 6) or nil
  if not e then return 'malformed', '' end
  if before then return same_task(before, sent, e) and 'duplicate' or 'conflict', id end
  local lane = lane_by_n[e.lane]
  if not lane or lane.conf.gone then return 'lane', tostring(e.lane) end
  local first = e.idem_key and (seen_keys[e.idem_key] or key_holder(e.idem_key))
  if first then
    local same = string.sub(first, ID + 1) == e.idem_print
    return same and 'duplicate' or 'conflict', string.sub(first, 1, ID)
  end
  if conf.max_depth > 0 and depth + accepted >= conf.max_depth then return 'depth', tostring(conf.max_depth) end
  if backlog then return 'backlog', '1000' end
  local wait, scope = admit(e, lane.conf)
  if wait > 0 then return 'rate', wait .. ' ' .. scope end

  accept(id, sent)
  if e.idem_key then
    local value = id .. e.idem_print
    seen_keys[e.idem_key] = value
    idem_writes[#idem_writes + 1] = e.idem_key
    idem_writes[#idem_writes + 1] = value
  end
  if e.startby > 0 then
    startby_adds[#startby_adds + 1] = now + e.startby
    startby_adds[#startby_adds + 1] = id
  end
  local due = has(e.flags, E_DELAY) and now + e.when or (has(e.flags, E_AT) and e.when or 0)
  if due > now then
    schedule_adds[#schedule_adds + 1] = due
    schedule_adds[#schedule_adds + 1] = id
  else
    local score = charge(e.lane, e.prio, e.tenant)
    place(id, e.lane, score, e.tenant, nil, function() return rec_fresh(e, PARKED, score) end)
  end
  emit('submitted', id, e.lane, 0)
end

-- The times of all tenants are read at once.
local fields, wanted = {}, {}
for i = 1, n do
  local sent = ARGV[2 * i + 1]
  local lane_n, prio, _, tenant_len = byte(sent, 3, 6)
  if tenant_len and tenant_len > 0 and lane_by_n[lane_n] then
    local field = tenant_field(lane_n, prio, sub(sent, 8, 7 + tenant_len))
    if not wanted[field] then
      wanted[field] = true
      fields[#fields + 1] = field
    end
  end
end
vt_read(fields)

for i = 1, n do
  local id, sent = ids[i], ARGV[2 * i + 1]
  local before = known[i] and string.sub(known[i], 7) or seen[id]
  if before or not unlimited or not accept_plainly(id, sent) then
    local code, detail = submit_one(id, sent, before)
    if code then refuse(i, code, detail) end
  end
end

-- The envelope and the count of submissions are one command, so that they cannot differ. They come last of
-- what makes a task: a call that fails before leaves only places without a task, which claim drops.
if accepted > 0 then
  emit_flush()
  bucket_flush()
  call_many('ZREM', IDEMEXP, over)
  call_many('HSET', IDEM, idem_writes)
  call_many('ZADD', STARTBY_SET, startby_adds)
  call_many('ZADD', SCHEDULED_SET, schedule_adds)
  local ready = place_flush()
  task_writes[#task_writes + 1] = '#'
  task_writes[#task_writes + 1] = submitted + accepted
  call('HSET', TASKS, unpack(task_writes))
  wake(ready)
  if #schedule_adds > 0 then
    call('RPUSH', WAKE_TEND, '1')
    call('LTRIM', WAKE_TEND, 0, 3)
  end
end
return reply
