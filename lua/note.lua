-- note: what running handlers tell of themselves: how far they are, what the next attempt goes on from, their log lines.
-- KEYS: meta records notes
-- ARGV: conf, incarnation (8 bytes), then four per task: what there is (c14 d I4 I4 d B: id, fence, number of the note
--   within its attempt, log lines, fraction, and 1 for progress, 2 for a checkpoint, 4 for none any more),
--   progress in words, checkpoint, log lines (each after its length, I4)
-- RETURNS: {'ok', now, codes}: one byte per task: 0 refused (the caller does not hold it under that fence), 1 noted
-- IDEMPOTENT: yes, by fence and number
-- USES: base record

-- NOTES has, per task, a head (its id), a checkpoint (id 's') and lines in slots (id and a byte), so that a note rewrites
-- little: a slot takes lines until it has SLOT_BYTES. Slots are used in turn: a task never leaves more than SLOTS behind.
local LINES_KEPT, BYTES_KEPT, SLOT_BYTES, SLOTS = 200, 32768, 2048, 32
local P_PROGRESS, P_SAVE, P_CLEAR = 1, 2, 4
local HEAD_COST = 128 -- bytes that a note costs beside what it says

local stop = load_conf(ARGV[1])
if stop then return stop end

local function slot_of(id, number)
  return id .. char(number % SLOTS)
end

-- Adds LINES (COUNT of them) to what is kept: the writes go to PAIRS, the slots that are not needed any more to GONE.
local function add_lines(id, h, count, lines, pairs_, gone)
  local last = h.z > h.a and call('HGET', NOTES, slot_of(id, h.z - 1))
  if last and #last < SLOT_BYTES then
    local first, n = unpacked('>I4I4', last)
    lines = pack('>I4I4', first, n + count) .. sub(last, 9) .. lines
    h.y = h.y - #last
    h.z = h.z - 1
  else
    lines = pack('>I4I4', h.n + 1, count) .. lines
  end
  pairs_[#pairs_ + 1] = slot_of(id, h.z)
  pairs_[#pairs_ + 1] = lines
  h.n, h.z, h.l, h.y = h.n + count, h.z + 1, h.l + count, h.y + #lines
  while h.z - h.a > 1 do
    local old = call('HGET', NOTES, slot_of(id, h.a))
    local _, n = 0, 0
    if old then _, n = unpacked('>I4I4', old) end
    local enough = h.l - n >= LINES_KEPT or h.y - #(old or '') >= BYTES_KEPT
    if old and not enough and h.z - h.a < SLOTS then break end
    gone[#gone + 1] = slot_of(id, h.a)
    h.a, h.l, h.y = h.a + 1, h.l - n, h.y - #(old or '')
  end
end

local codes = {}
for at = 3, #ARGV, 4 do
  local id, fence, number, count, fraction, parts = unpacked('>c14dI4I4dB', ARGV[at])
  local raw = call('HGET', RECORDS, id)
  local rec = raw and rec_unpack(raw)
  if not rec or rec.state ~= RUNNING or rec.holder ~= ARGV[2] or rec.fence ~= fence then
    codes[#codes + 1] = char(0)
  else
    local stored = call('HGET', NOTES, id)
    -- f, s: fence and number of the last note; b: the record's size without notes; n: the last line's number; a, z: the
    -- slots in use, z left out; l, y: lines and bytes in them; k: bytes of the checkpoint, and kt, ka: attempt and time
    local h = stored and cmsgpack.unpack(stored) or {f = 0, s = 0, b = rec.size, n = 0, a = 0, z = 0, l = 0, y = 0, k = 0}
    if h.f ~= fence or h.s < number then
      local pairs_, gone = {}, {}
      h.f, h.s = fence, number
      if has(parts, P_PROGRESS) then
        h.p, h.w, h.pa, h.pt = fraction, ARGV[at + 1], now, rec.attempts
      end
      if has(parts, P_SAVE) then
        h.k, h.ka, h.kt = #ARGV[at + 2], now, rec.attempts
        pairs_[1], pairs_[2] = id .. 's', ARGV[at + 2]
      elseif has(parts, P_CLEAR) then
        h.k, h.ka, h.kt = 0, nil, nil
        gone[1] = id .. 's'
      end
      if count > 0 then add_lines(id, h, count, ARGV[at + 3], pairs_, gone) end
      pairs_[#pairs_ + 1], pairs_[#pairs_ + 2] = id, cmsgpack.pack(h)
      call_many('HSET', NOTES, pairs_) -- (one command: either the note is there whole, or it can be repeated)
      call_many('HDEL', NOTES, gone)
    end
    -- Notes count among the bytes that are kept of ended tasks. By its size a claim also sees that a task has notes.
    local size = h.b + HEAD_COST + #(h.w or '') + h.k + h.y
    if size ~= rec.size then
      rec.size = size
      call('HSET', RECORDS, id, rec_pack(rec))
    end
    codes[#codes + 1] = char(1)
  end
end
return {'ok', now, table.concat(codes)}
