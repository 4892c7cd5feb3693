-- slots: how many slots the announced workers have, for minimum shares.
-- KEYS: meta workers

local function count_slots()
  local slots = 0
  for _, raw in ipairs(call('HVALS', WORKERS)) do
    local reg = cmsgpack.unpack(raw)
    if reg.st == 2 then slots = slots + reg.s end
  end
  call('HSET', META, 'slots', slots)
end
