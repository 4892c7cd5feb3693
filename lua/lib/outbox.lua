-- outbox: what happened, appended in the same script that made it happen; a relay publishes it.
-- KEYS: meta outbox
-- One entry per kind and call: fields k (kind), t (ms) and i (per task: id, lane, attempts as c14 B H).
-- The bytes waiting are counted; past the hard cap everything but dead letters gives way to a gap count.

local events = {}
local event_kinds = {}
local event_tails = {} -- (lane, attempts) as packed, by both: few differ in one call

-- The list of a kind, to which each task adds its id and its tail.
local function emitted(kind)
  local list = events[kind]
  if not list then
    list = {}
    events[kind] = list
    event_kinds[#event_kinds + 1] = kind
  end
  return list
end

local function emit_tail(lane, attempts)
  local both = lane * 65536 + attempts
  local tail = event_tails[both]
  if not tail then
    tail = struct.pack('>BH', lane, attempts)
    event_tails[both] = tail
  end
  return tail
end

local function emit(kind, id, lane, attempts)
  local list = events[kind] or emitted(kind)
  local n = #list
  list[n + 1] = id
  list[n + 2] = emit_tail(lane, attempts)
end

-- Writes the events of this call. It runs before the transition's own writes: after a failure half-way
-- the caller repeats the call, and an event may then be there twice, but never missing.
local function emit_flush()
  if #event_kinds == 0 then return end
  local added, dropped = 0, 0
  for _, kind in ipairs(event_kinds) do
    local blob = table.concat(events[kind])
    if outbox_waiting + added < conf.outbox_hard or kind == 'dead' then
      call('XADD', OUTBOX, '*', 'k', kind, 't', now, 'i', blob)
      added = added + #blob + 64
    else
      dropped = dropped + #events[kind] / 2
    end
  end
  if added > 0 then outbox_waiting = call('HINCRBY', META, 'outbox_bytes', added) end
  if dropped > 0 then call('HINCRBY', META, 'outbox_gap', dropped) end
  events, event_kinds = {}, {}
end
