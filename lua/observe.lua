-- observe: adds to the history how long tasks waited and ran at one worker since it told last.
-- KEYS: meta history_fine history_coarse
-- ARGV: times (msgpack: {{lane, {waits: how many in each bucket ..., seconds in all}, {run times: the same}}, ...})
-- RETURNS: 1
-- IDEMPOTENT: no (a call that is repeated counts twice, so a worker does not repeat one whose outcome it does not know)
-- USES: base history

local times = cmsgpack.unpack(ARGV[1])
for _, ring in ipairs(RINGS) do
  local b, place = bucket_of(ring, math.floor(now / 1000))
  if b then
    for _, item in ipairs(times) do
      if #item[2] > 0 then add_to(part_of(b, 'w'), item[1], item[2]) end
      if #item[3] > 0 then add_to(part_of(b, 'r'), item[1], item[3]) end
    end
    call('HSET', ring.key, place, cmsgpack.pack(b))
  end
end
return 1
