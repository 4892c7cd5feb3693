-- sample: adds the sizes of a queue now, as somebody has just read them, to the history.
-- KEYS: meta history_fine history_coarse
-- ARGV: time (s), gauges (msgpack: {queued, running, scheduled, workers, slots}), lanes (msgpack: {{name, queued, running}, ...})
-- RETURNS: 1
-- IDEMPOTENT: yes (a sample told twice weighs twice in its bucket's mean)
-- USES: base history

-- Kept is {samples, then each number's last, then each one's sum}.
local function add_sample(was, numbers)
  local n = #numbers
  local out = {(was and #was == 2 * n + 1 and was[1] or 0) + 1}
  for i = 1, n do
    out[1 + i] = numbers[i]
    out[1 + n + i] = (out[1] > 1 and was[1 + n + i] or 0) + numbers[i]
  end
  return out
end

local at = tonumber(ARGV[1])
local gauges, lanes = cmsgpack.unpack(ARGV[2]), cmsgpack.unpack(ARGV[3])
for _, ring in ipairs(RINGS) do
  local b, place = bucket_of(ring, at)
  if b then
    b.g = add_sample(b.g, gauges)
    if #lanes > 0 then
      local part = part_of(b, 'l')
      for _, lane in ipairs(lanes) do
        local name = lane_in(part, lane[1])
        part[name] = add_sample(part[name], {lane[2], lane[3]})
      end
    end
    call('HSET', ring.key, place, cmsgpack.pack(b))
  end
end
return 1
