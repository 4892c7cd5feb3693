"""Kubernetes events: told on transitions, folded, limited per object, and never a reason for a pass to fail."""

from __future__ import annotations

import asyncio
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from laneway.kit.health import Health
from laneway.kit.logs import get_logger
from laneway.kit.service import Service
from laneway_operator.conditions import ABNORMAL, Condition, EventType
from laneway_operator.engine.cluster import Cluster
from laneway_operator.engine.errors import ClusterError, NotLeading
from laneway_operator.keys import Body

_log = get_logger(__name__)

COMPONENT = "laneway-operator"

_BACKLOG = 1000
_REMEMBERED = 4096
_FOLD_S = 600.0
_BURST = 25
_REFILL_S = 60.0
_LONGEST_MESSAGE = 1024


@dataclass(slots=True)
class _Told:
    """What was told last of one object: when, and how many events it may still have now."""

    last: dict[tuple[str, str], float]
    tokens: float
    at: float


class EventRecorder(Service):
    """Writes events in the background, so that passes do not wait for them.

    The same (type, reason, message) of an object within 10 minutes is told once. One object has at most 25
    events at once, and one more each minute. What can't be written is logged and counted.
    """

    def __init__(
        self,
        cluster: Cluster,
        identity: str,
        *,
        health: Health | None = None,
        count: Callable[[str], None] = lambda result: None,
        clock: Callable[[], float],
    ) -> None:
        super().__init__("events", health=health, allowed_silence=60.0)
        self._cluster = cluster
        self._identity = identity
        self._count = count
        self._time = clock
        self._backlog: deque[Body] = deque()
        self._more = asyncio.Event()
        self._told: OrderedDict[str, _Told] = OrderedDict()

    def emit(self, body: Body, type: EventType, reason: str, message: str) -> None:
        """Tells of something that has just happened to an object. To be called on a transition, not on each
        pass: a repetition is told again after 10 minutes."""
        told = self._told_of(body["metadata"].get("uid", ""))
        now = self._time()
        what = (f"{type}/{reason}", message)
        if now - told.last.get(what, float("-inf")) < _FOLD_S:
            self._count("folded")
            return
        told.tokens = min(float(_BURST), told.tokens + (now - told.at) / _REFILL_S)
        told.at = now
        if told.tokens < 1:
            self._count("limited")
            return
        told.tokens -= 1
        told.last = {key: at for key, at in told.last.items() if now - at < _FOLD_S}
        told.last[what] = now
        if len(self._backlog) >= _BACKLOG:
            self._backlog.popleft()
            self._count("dropped")
        self._backlog.append(event(body, type, reason, message, self._identity))
        self._more.set()

    def emit_transitions(self, body: Body, before: Iterable[Condition], after: Iterable[Condition]) -> None:
        """Tells of each condition whose status or reason is another than before; of those that are new, only
        if they tell of trouble. Warning for trouble, Normal otherwise."""
        old = {condition["type"]: condition for condition in before}
        for condition in after:
            was = old.get(condition["type"])
            abnormal = condition["type"] in ABNORMAL
            trouble = condition["status"] == ("True" if abnormal else "False") and condition["type"] != "Reconciling"
            if was is None and not trouble:
                continue
            if was is not None and (was["status"], was["reason"]) == (condition["status"], condition["reason"]):
                continue
            if condition["type"] == "Reconciling":
                continue
            text = condition["message"] or f"{condition['type']} is {condition['status']}"
            warning = trouble and condition["type"] != "Paused"
            self.emit(body, EventType.WARNING if warning else EventType.NORMAL, condition["reason"], text)

    async def run(self) -> None:
        """Writes what was told, until told to stop."""
        while not self.stopping:
            self.touch()
            if not self._backlog:
                self._more.clear()
                await self._wait_for_more()
                continue
            await self._write(self._backlog.popleft())

    async def stop(self) -> None:
        """Writes no more; what was not written is dropped."""
        self._more.set()
        await super().stop()

    async def _wait_for_more(self) -> None:
        try:
            async with asyncio.timeout(10):
                await self._more.wait()
        except TimeoutError:
            return  # only to show progress

    async def _write(self, body: Body) -> None:
        try:
            await self._cluster.create_event(body)
        except NotLeading:
            self._count("dropped")
        except ClusterError as error:
            self._count("failed")
            _log.warning("event not written", reason=body["reason"], error=str(error))
        else:
            self._count("written")

    def _told_of(self, uid: str) -> _Told:
        told = self._told.get(uid)
        if told is None:
            told = self._told[uid] = _Told({}, float(_BURST), self._time())
            while len(self._told) > _REMEMBERED:
                self._told.popitem(last=False)
        else:
            self._told.move_to_end(uid)
        return told


def event(body: Body, type: EventType, reason: str, message: str, identity: str) -> Body:
    """A core/v1 Event about an object."""
    meta = body["metadata"]
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    namespace = meta.get("namespace", "default")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{meta['name'][:200]}.{uuid.uuid4().hex[:16]}", "namespace": namespace},
        "involvedObject": {
            "apiVersion": body["apiVersion"],
            "kind": body["kind"],
            "name": meta["name"],
            "namespace": namespace,
            "uid": meta.get("uid", ""),
            "resourceVersion": meta.get("resourceVersion", ""),
        },
        "type": str(type),
        "reason": reason,
        "message": message[:_LONGEST_MESSAGE],
        "source": {"component": COMPONENT, "host": identity},
        "reportingComponent": COMPONENT,
        "reportingInstance": identity[:128],
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "count": 1,
    }
