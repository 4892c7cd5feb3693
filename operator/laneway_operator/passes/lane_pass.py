"""The pass of a PriorityLane: its queue's pass puts it into the live configuration, and this one tells how it went."""

from __future__ import annotations

from laneway.errors import ConfigError
from laneway.model.manifests import PriorityLane
from laneway_operator import names
from laneway_operator.apply.status import write_status_if_different
from laneway_operator.conditions import ConditionType, Reason
from laneway_operator.engine.errors import NotFound
from laneway_operator.keys import Body, ObjectKey
from laneway_operator.observe.manifests import Manifests
from laneway_operator.passes.live import LiveQueue, LiveQueues
from laneway_operator.plan.status import Finding, conditions, held, told
from laneway_operator.toolbox import Toolbox

_READY = ConditionType.READY


class LanePass:
    """Tells in a lane's status whether it is in force."""

    def __init__(self, tools: Toolbox, manifests: Manifests, live: LiveQueues) -> None:
        self._tools = tools
        self._manifests = manifests
        self._live = live

    async def __call__(self, key: ObjectKey) -> float | None:
        body = self._tools.cache.get(key)
        if body is None or body["metadata"].get("deletionTimestamp"):
            return None
        before = body.get("status") or {}
        generation = int(body["metadata"]["generation"])
        if names.paused(body):
            await self._write(body, held(before, generation))
            return None
        number = before.get("number")
        paused = ""
        try:
            lane = self._manifests.lane(body)
        except ConfigError as error:
            finding = Finding(_READY, False, Reason.INVALID_SPEC, str(error))
        else:
            queue = names.queue_key(key.namespace, lane.spec.queueRef.name)
            live = self._live.get(queue)
            finding = lane_finding(lane, generation, self._tools.cache.get(queue) is not None, live)
            paused = "spec.paused: tasks are accepted and wait" if lane.spec.paused else ""
            if live is not None and live.config is not None and key.name not in live.beaten:
                at = live.config.lane(lane.lane)
                number = at.n if at is not None else number
        if finding.reason is Reason.RESOURCE_CONFLICT:
            number = None
        status: Body = {
            "observedGeneration": generation,
            "conditions": conditions([finding], generation, paused=paused),
            "number": number,
        }
        await self._write(body, status)
        return None  # the queue's pass wakes this one when anything is different

    async def _write(self, body: Body, status: Body) -> None:
        before = (body.get("status") or {}).get("conditions") or []
        try:
            written = await write_status_if_different(self._tools.cluster, self._tools.cache, body, status)
        except NotFound:
            return
        if written:
            self._tools.events.emit_transitions(body, told(before), told(status["conditions"]))


def lane_finding(lane: PriorityLane, generation: int, queue_there: bool, live: LiveQueue | None) -> Finding:
    """Whether a lane is in force, by what the last pass of its queue found. Pure."""
    name, queue = lane.metadata.name, lane.spec.queueRef.name
    if not queue_there:
        return Finding(
            _READY,
            False,
            Reason.QUEUE_NOT_FOUND,
            f"there is no TaskQueue {queue} in namespace {lane.metadata.namespace}",
        )
    if live is not None and name in live.beaten:
        return Finding(
            _READY,
            False,
            Reason.RESOURCE_CONFLICT,
            f"the older PriorityLane {live.beaten[name]} is the lane {lane.lane} of TaskQueue {queue}: delete one of"
            " them, or give this one another spec.laneName",
        )
    if live is not None and not live.finding.ok:
        return Finding(_READY, False, live.finding.reason, live.finding.message)
    in_force = live is not None and live.config is not None and live.config.lane(lane.lane) is not None
    if live is None or not in_force or live.generations.get(name) != generation:
        return Finding(_READY, False, Reason.PROGRESSING, "waits for the live configuration of its queue")
    return Finding(_READY, True, Reason.READY)
