-- depth: how much there is to do, for scaling: a light read that changes nothing and looks at no worker.
-- KEYS: meta scheduled parked held dispatched lanes*
-- ARGV: conf, ms from now within which a scheduled task counts as soon due
-- RETURNS: {'ok', now, queued in lanes that hand out work, queued in those that don't (all, while the queue is paused),
--   parked, soon due, dispatched, running, ended tasks in the average of running times, ms that they took}
-- IDEMPOTENT: yes
-- USES: base

local stop = load_conf(ARGV[1])
if stop then return stop end
local ready, stopped, open = 0, 0, not conf.paused
for i, lane in ipairs(conf.lanes) do
  local n = call('ZCARD', LANES[i])
  if conf.paused or lane.paused then
    stopped = stopped + n
    open = false
  else
    ready = ready + n
  end
end
-- A scheduled task's lane stands in its envelope, which may be large. So while one lane is paused, what is due soon
-- counts only once it stands in its lane.
local soon = open and call('ZCOUNT', SCHEDULED_SET, '-inf', now + tonumber(ARGV[2])) or 0
local dispatched = call('ZCARD', DISPATCHED_SET)
local ran = call('HMGET', META, 'ran_n', 'ran_ms')
return {
  'ok', now, ready, stopped, call('ZCARD', PARKED_SET), soon, dispatched, call('ZCARD', HELD) - dispatched,
  ran[1] or '0', ran[2] or '0',
}
