-- tally: adds what happened to tasks, as the relay has told it, to the history.
-- KEYS: meta history_fine history_coarse
-- ARGV: id of the newest outbox entry that is counted in, counts (msgpack: {{time (s), kind, lane, how many}, ...})
-- RETURNS: how many of the two rings took it (one that has counted this entry, or a later one, does not)
-- IDEMPOTENT: yes
-- USES: base history

local ms, seq = string.match(ARGV[1], '^(%d+)-(%d+)$')
ms, seq = tonumber(ms), tonumber(seq)
local counts = cmsgpack.unpack(ARGV[2])
local took = 0
for _, ring in ipairs(RINGS) do
  local last_ms, last_seq = string.match(call('HGET', ring.key, '#') or '0-0', '^(%d+)-(%d+)$')
  last_ms, last_seq = tonumber(last_ms), tonumber(last_seq)
  if ms > last_ms or (ms == last_ms and seq > last_seq) then
    local open = {}
    for _, item in ipairs(counts) do
      local at = item[1] - item[1] % ring.width
      if open[at] == nil then
        local b, place = bucket_of(ring, at)
        open[at] = b and {b, place} or false
      end
      if open[at] then
        local kinds = part_of(part_of(open[at][1], 'n'), item[2])
        local lane = lane_in(kinds, item[3])
        kinds[lane] = (kinds[lane] or 0) + item[4]
      end
    end
    -- One command writes it all, with how far it is: a call that fails is repeated, and no ring counts twice.
    local writes = {'#', ARGV[1]}
    for _, each in pairs(open) do
      if each then
        writes[#writes + 1] = each[2]
        writes[#writes + 1] = cmsgpack.pack(each[1])
      end
    end
    call('HSET', ring.key, unpack(writes))
    took = took + 1
  end
end
return took
