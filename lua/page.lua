-- page: looks at a stretch of a list of tasks from a position on, and gives those that a filter lets through. It changes
-- nothing, and looks at a bounded number of tasks and bytes.
-- KEYS: meta tasks records errors scheduled parked held succeeded dead cancelled expired workers lanes*
-- ARGV: conf, source (lane, scheduled, parked, held, ended or ids), which (the lane's number; the parked tenant and a zero
--   byte, or ''; the states, a byte each; the ids), backwards (1 or 0), lowest score or '', score to stay under or '',
--   score and member of the last one seen ('' both: from the beginning), most to look at, most to give, filter (msgpack)
-- RETURNS: {'ok', now, looked at, whether there may be more (0 or 1), score and member of the last one looked at,
--   then per task: id, state, stored envelope (without its payload when that is large), record or '', due (ms) or '',
--   errors ('', the last one, or all when the filter asks for a text in them), name of its worker or ''}
-- IDEMPOTENT: yes
-- USES: base record

local stop = load_conf(ARGV[1])
if stop then return stop end
local source, which, backwards = ARGV[2], ARGV[3], ARGV[4] == '1'
local low, high, score, member = ARGV[5], ARGV[6], ARGV[7], ARGV[8]
local most, want = tonumber(ARGV[9]), tonumber(ARGV[10])
local SETS = {[SUCCEEDED] = SUCCEEDED_SET, [DEAD] = DEAD_SET, [CANCELLED] = CANCELLED_SET, [EXPIRED] = EXPIRED_SET}
local MOST_BYTES = 2000000 -- of envelopes read in one call, give or take a few
local PLAIN = 400          -- an envelope of up to so many bytes is given as it is

-- The filter: what it does not name it does not ask for. Lists become sets.
local f = cmsgpack.unpack(ARGV[11])
local function set_of(list)
  if not list then return nil end
  local set = {}
  for _, value in ipairs(list) do set[value] = true end
  return set
end
local states, lanes, tenants, types = set_of(f.s), set_of(f.l), set_of(f.n), set_of(f.t)

-- Whether A comes before B in a sorted set: by bytes. (Lua's own order depends on the server's locale.)
local function before(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = byte(a, i), byte(b, i)
    if x ~= y then return x < y end
  end
  return #a < #b
end

-- How many members of KEY come before the position, and whether the next one is the position's own. When that has left,
-- its place among those of the same score is found by halving.
local function rank_of(key)
  local now_at = call('ZSCORE', key, member)
  if now_at and tonumber(now_at) == tonumber(score) then return call('ZRANK', key, member), true end
  local first = call('ZCOUNT', key, '-inf', '(' .. score)
  local last = first + call('ZCOUNT', key, score, score)
  while first < last do
    local middle = math.floor((first + last) / 2)
    if before(call('ZRANGE', key, middle, middle)[1], member) then first = middle + 1 else last = middle end
  end
  return first, false
end

-- What is to be looked at, in the list's order: members, and beside them, where several sets are merged, scores and the
-- states of their sets. OVER: nothing comes after these.
local members, scores, sets, over = {}, nil, nil, true
local only_set = nil -- the one set that members stand in, by score

-- The next members of a set by score, from the position on and within the bounds (flat, with scores if wanted).
local function stretch_of(key, with_scores)
  local first = low ~= '' and call('ZCOUNT', key, '-inf', '(' .. low) or 0
  local top = high ~= '' and call('ZCOUNT', key, '-inf', '(' .. high) or call('ZCARD', key)
  if member ~= '' then
    local rank, own = rank_of(key)
    if backwards then top = math.min(top, rank) else first = math.max(first, own and rank + 1 or rank) end
  end
  over = over and top - first <= most
  if top - first > most then
    if backwards then first = top - most else top = first + most end
  end
  if top <= first then return {} end
  if with_scores then return call('ZRANGE', key, first, top - 1, 'WITHSCORES') end
  return call('ZRANGE', key, first, top - 1)
end

local function by_score(key)
  only_set = key
  members = stretch_of(key, false)
  if backwards then
    local i, j = 1, #members
    while i < j do
      members[i], members[j] = members[j], members[i]
      i, j = i + 1, j - 1
    end
  end
end

-- The next members of a set whose scores are all 0, from the position on and within a prefix.
local function by_member(key)
  local from = member ~= '' and '(' .. member or (which ~= '' and '[' .. which or '-')
  local to = which ~= '' and '(' .. sub(which, 1, -2) .. '\1' or '+'
  members = call('ZRANGEBYLEX', key, from, to, 'LIMIT', 0, most)
  over = #members < most
end

-- Several sets of ended tasks as one list, by the time of their end.
local function merged()
  local all = {}
  for i = 1, #which do
    local state = byte(which, i)
    local flat = stretch_of(SETS[state], true)
    for j = 1, #flat, 2 do all[#all + 1] = {flat[j], flat[j + 1], state, tonumber(flat[j + 1])} end
  end
  table.sort(all, function(a, b)
    if a[4] ~= b[4] then
      if backwards then return a[4] > b[4] end
      return a[4] < b[4]
    end
    if backwards then return before(b[1], a[1]) end
    return before(a[1], b[1])
  end)
  over = over and #all <= most
  scores, sets = {}, {}
  for i = 1, math.min(#all, most) do members[i], scores[i], sets[i] = all[i][1], all[i][2], all[i][3] end
end

if source == 'lane' then
  local lane = lane_by_n[tonumber(which)]
  if lane then by_score(lane.key) end -- (else it was removed a moment ago)
elseif source == 'scheduled' then
  by_score(SCHEDULED_SET)
elseif source == 'parked' then
  by_member(PARKED_SET)
elseif source == 'held' then
  by_member(HELD)
elseif source == 'ended' then
  if #which == 1 then by_score(SETS[byte(which)]) else merged() end
else
  for pos = 1, #which, ID do members[#members + 1] = sub(which, pos, pos + ID - 1) end
end

local function score_at(i)
  if scores then return scores[i] end
  return only_set and call('ZSCORE', only_set, members[i]) or '0'
end

local ID_AT = ({parked = -ID, held = -ID})[source] or 1

-- The state of a task that stands here by its record (or false), when it belongs here; nil when it does not: it has
-- moved, or a call that failed half-way left it.
local function state_here(i, rec)
  if source == 'ids' then return rec and byte(rec, 1) or QUEUED end
  if not rec then
    if source == 'lane' then return QUEUED end
    return source == 'scheduled' and SCHEDULED or nil
  end
  local state = byte(rec, 1)
  if source == 'lane' then return state == QUEUED and state or nil end
  if source == 'scheduled' then return state == SCHEDULED and state or nil end
  if source == 'parked' then return state == PARKED and state or nil end
  if source == 'ended' then return state == (sets and sets[i] or byte(which)) and state or nil end
  local held = (state == RUNNING or state == DISPATCHED) and sub(rec, 44, 51) == sub(members[i], 1, 8)
  return held and state or nil
end

-- Where the body begins in a stored envelope, by its head, and how long the tenant and the key before it are.
local function body_at(raw)
  local flags, _, _, _, tenant_len, idem_len = byte(raw, 8, 13)
  local pos = 14 + tenant_len + idem_len
  if flags ~= 0 then
    if has(flags, E_DELAY) or has(flags, E_AT) then pos = pos + 8 end
    if has(flags, E_STARTBY) then pos = pos + 4 end
  end
  return pos, tenant_len, idem_len
end

-- The type in a stored envelope, and where it ends; nil when the body is not as expected.
local function type_of(raw)
  local pos = body_at(raw)
  local array, head, long = byte(raw, pos, pos + 2)
  if not long or math.floor(array / 16) ~= 9 then return nil end
  if math.floor(head / 32) == 5 then return sub(raw, pos + 2, pos + 1 + head - 160), pos + 2 + head - 160 end
  if head == 217 then return sub(raw, pos + 3, pos + 2 + long), pos + 3 + long end
  return nil
end

-- The envelope as it goes out: a large payload is left out, and with it the mark that it is compressed.
local function lean(raw)
  if #raw < 16 then return raw end
  local packed = has(byte(raw, 8), 16)
  if #raw <= PLAIN and not packed then return raw end
  local _, at = type_of(raw)
  if not at or #raw < at + 5 then return raw end
  local head, skip = byte(raw, at), nil
  if head == 196 then skip = 2 + byte(raw, at + 1)
  elseif head == 197 then skip = 3 + unpacked('>H', raw, at + 1)
  elseif head == 198 then skip = 5 + unpacked('>I4', raw, at + 1) end
  if not skip or (skip < 200 and not packed) then return raw end
  return sub(raw, 1, 7) .. char(without(byte(raw, 8), 16)) .. sub(raw, 9, at - 1) .. '\196\0' .. sub(raw, at + skip)
end

-- Whether the filter lets a task through, as far as its stored envelope tells. (Labels and errors only roughly: the
-- caller looks again.)
local function lets_through(raw, rec)
  if not rec then
    if #raw < 13 or (lanes and not lanes[byte(raw, 9)]) then return false end
    if tenants then
      local pos, tenant_len, idem_len = body_at(raw)
      if not tenants[sub(raw, pos - tenant_len - idem_len, pos - idem_len - 1)] then return false end
    end
  end
  if f.c0 or f.c1 then
    local made = unpacked('>I6', raw)
    if (f.c0 and made < f.c0) or (f.c1 and made >= f.c1) then return false end
  end
  if (types or f.x) and #raw < 16 then return false end
  if types and not types[type_of(raw) or ''] then return false end
  if f.x then
    local from = body_at(raw)
    for _, label in ipairs(f.x) do
      if not string.find(raw, label, from, true) then return false end
    end
  end
  return true
end

local worker_names = {}
local function worker_of(rec, state)
  if state ~= RUNNING and state ~= DISPATCHED then return '' end
  local holder = sub(rec, 44, 51)
  if not worker_names[holder] then
    local raw = call('HGET', WORKERS, holder)
    worker_names[holder] = raw and cmsgpack.unpack(raw).n or ''
  end
  return worker_names[holder]
end

local function last_of(errors)
  local pos = 1
  while true do
    local size = unpacked('>I4', errors, pos)
    if pos + 4 + size > #errors then return sub(errors, pos) end
    pos = pos + 4 + size
  end
end

local reply = {'ok', now, 0, 0, '0', ''}
local looked, given, bytes = 0, 0, 0
while looked < #members and given < want and bytes < MOST_BYTES do
  -- Few at first: how large they are is not known before they are read.
  local chunk = math.min(looked == 0 and 20 or (bytes / looked > 8192 and 5 or 100), #members - looked)
  local ids, found, asked, read = {}, {}, {}, {}
  for i = 1, chunk do
    local m = members[looked + i]
    ids[i] = ID_AT == 1 and m or sub(m, ID_AT)
  end
  local recs = hash_many(RECORDS, ids)
  for i = 1, chunk do
    local rec = recs[i]
    local state = state_here(looked + i, rec)
    if state and (not states or source == 'ids' or states[state])
      and (not f.p or sub(ids[i], 1, #f.p) == f.p)
      and (not f.e or (rec and has(byte(rec, 2), F_ERRORS)))
      and (not rec or ((not lanes or lanes[byte(rec, 3)]) and (not tenants or tenants[sub(rec, REC_SIZE + 1)]))) then
      asked[#asked + 1] = ids[i]
      read[i] = #asked
      found[i] = state
    end
  end
  local envelopes = hash_many(TASKS, asked)
  for i = 1, chunk do
    looked = looked + 1
    local state, raw, rec, id = found[i], read[i] and envelopes[read[i]], recs[i], ids[i]
    if raw then bytes = bytes + #raw end
    if raw and raw ~= '' and lets_through(raw, rec) then
      local due = ''
      if state == SCHEDULED or (source == 'ids' and not rec) then
        due = call('ZSCORE', SCHEDULED_SET, id) or ''
        if due ~= '' then state = SCHEDULED end
      end
      local errors = rec and has(byte(rec, 2), F_ERRORS) and call('HGET', ERRORS, id) or ''
      bytes = bytes + #errors
      if not f.e or string.find(string.lower(errors), f.e, 1, true) then
        if not f.e and source ~= 'ids' and errors ~= '' then errors = last_of(errors) end
        local n = #reply
        reply[n + 1], reply[n + 2], reply[n + 3], reply[n + 4] = id, state, lean(raw), rec or ''
        reply[n + 5], reply[n + 6], reply[n + 7] = due, errors, rec and worker_of(rec, state) or ''
        given = given + 1
      end
    end
    if given == want then break end
  end
end
reply[3] = looked
reply[4] = (looked < #members or not over) and 1 or 0
if looked > 0 then reply[5], reply[6] = score_at(looked), members[looked] end
return reply
