-- base: the clock, the configuration check and small helpers; the first part of every script.
-- KEYS: meta

local call = redis.call
-- (A local costs far less than a global and its field, in what is done for each task.)
local sub, byte, char = string.sub, string.byte, string.char
local pack, unpacked = struct.pack, struct.unpack

-- Redis TIME is the only clock that scripts know, so clients' clocks do not matter.
local time = call('TIME')
local now_us = time[1] * 1000000 + time[2]
local now = math.floor(now_us / 1000)
-- (Redis writes out a number among a command's arguments with 17 digits, which takes longer than most commands.)
local now_text = string.format('%.0f', now)

local ID = 14        -- bytes of a task id
local conf = nil     -- the live configuration, once load_conf has run
local lane_by_n = {} -- lane number -> {conf = ..., key = ..., at = index in LANES}

-- What the configuration leaves out is 0 (or false: absent).
local ZERO = {__index = {max = 0, share = 0, rate = 0, burst = 0, drate = 0, dburst = 0, w = 1, max_depth = 0}}
local outbox_waiting = 0 -- bytes in the outbox, as load_conf saw them

-- Compares the caller's configuration hash and schema with those stored. Returns nil when both agree,
-- or the reply to give: {'conf', hash} asks the caller to reload, {'schema', n} to upgrade.
local function load_conf(expected)
  local head = call('HMGET', META, 'conf', 'schema', 'hot', 'outbox_bytes')
  if tonumber(head[2] or SCHEMA) > SCHEMA then return {'schema', head[2]} end
  if head[1] ~= expected then return {'conf', head[1] or ''} end
  conf = setmetatable(cmsgpack.unpack(head[3]), ZERO)
  conf.tenant = setmetatable(conf.tenant or {}, ZERO)
  outbox_waiting = tonumber(head[4] or 0)
  for i, lane in ipairs(conf.lanes) do
    setmetatable(lane, ZERO)
    if LANES then lane_by_n[lane.n] = {conf = lane, key = LANES[i], at = i} end
  end
  return nil
end

-- A full Redis lets a script go on after its first write, even past maxmemory. So scripts that only
-- let work leave begin with a write that frees (or would free) something.
local function begin_freeing()
  call('HDEL', META, '-')
end

-- Calls COMMAND KEY with any number of values, in chunks that fit Lua's stack.
local function call_many(command, key, values)
  local n = #values
  if n == 0 then return end
  if n <= 1000 then
    call(command, key, unpack(values))
    return
  end
  for i = 1, n, 1000 do
    call(command, key, unpack(values, i, math.min(i + 999, n)))
  end
end

-- The values of FIELDS in the hash KEY, in order; false where there is none.
local function hash_many(key, fields)
  local n = #fields
  if n == 0 then return {} end
  if n <= 1000 then return call('HMGET', key, unpack(fields)) end
  local all = {}
  for i = 1, n, 1000 do
    local part = call('HMGET', key, unpack(fields, i, math.min(i + 999, n)))
    for j = 1, #part do all[i + j - 1] = part[j] end
  end
  return all
end
