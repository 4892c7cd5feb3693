-- packed: moves of plain records without taking them apart.
-- Most records are plain: no flag is set, nobody waits for anything. What happens to those most often is done on the
-- packed form, which costs a fraction of taking it apart. Where its fields begin: flags 2, lane 3, attempts 6, size 8,
-- fence 20, since 28, started 36, holder 44, tenant 52.

-- Whether RAW is a plain record in STATE, held by HOLDER under the fence packed in FENCE.
local function rec_plainly(raw, state, fence, holder)
  local is, flags = byte(raw, 1, 2)
  return is == state and flags == 0 and sub(raw, 20, 27) == fence and sub(raw, 44, 51) == holder
end

local function rec_attempts(raw)
  local high, low = byte(raw, 6, 7)
  return high * 256 + low
end

local now_packed = struct.pack('>d', now)

-- The same record in another state from now on.
local function rec_moved(raw, state)
  return char(state) .. sub(raw, 2, 27) .. now_packed .. sub(raw, 36)
end

-- The same record, running from now on, with one attempt more.
local function rec_begun(raw)
  return char(RUNNING) .. sub(raw, 2, 5) .. pack('>H', rec_attempts(raw) + 1)
    .. sub(raw, 8, 27) .. now_packed .. now_packed .. sub(raw, 44)
end
