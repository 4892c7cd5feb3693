-- history: what happened over time, in buckets of two widths, each in a ring: one hash, a field per bucket.
-- KEYS: history_fine history_coarse
-- A bucket is msgpack: {at = its begin (s), n = {kind = {lane = how many}}, g = gauges, l = {lane = gauges},
-- w = {lane = waits}, r = {lane = run times}}; what is empty is left out. The field is the bucket's place in the ring, so
-- what is too old is written over, and a ring never has more fields than places.

local RINGS = {
  {key = HISTORY_FINE, width = 10, places = 720},
  {key = HISTORY_COARSE, width = 300, places = 4032},
}
local MOST_LANES = 80

-- The bucket of a time (s), ready to be added to, and its place; nil when the ring has gone past that time.
local function bucket_of(ring, at)
  at = at - at % ring.width
  local place = (at / ring.width) % ring.places
  local raw = call('HGET', ring.key, place)
  local b = raw and cmsgpack.unpack(raw)
  if b and b.at > at then return nil end
  if not b or b.at < at then b = {at = at} end
  return b, place
end

-- A table inside a bucket, made when it is missing.
local function part_of(b, name)
  local part = b[name]
  if not part then
    part = {}
    b[name] = part
  end
  return part
end

-- The name under which a lane is kept in PART: its own, or 'other' when there are too many.
local function lane_in(part, lane)
  if part[lane] then return lane end
  local n = 0
  for _ in pairs(part) do n = n + 1 end
  return n < MOST_LANES and lane or 'other'
end

-- Adds numbers to an array of as many; a stored one of another length (of another version) gives way.
local function add_to(part, lane, numbers)
  lane = lane_in(part, lane)
  local sums = part[lane]
  if not sums or #sums ~= #numbers then
    part[lane] = numbers
    return
  end
  for i, n in ipairs(numbers) do sums[i] = sums[i] + n end
end
