"""The end of a TaskQueue: no submissions, nothing new starts, what runs may end, and then topics and data by policy.

Nothing that can't be reached holds it up for ever: after a deadline the object goes, and an event names what is
left behind.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from laneway.errors import ConfigError, Unavailable
from laneway.kit.quantities import duration_ms
from laneway.model.manifests import TaskQueue
from laneway_operator import names
from laneway_operator.apply.finalizers import has_finalizer, remove_finalizer
from laneway_operator.apply.limiter import erase_queue
from laneway_operator.apply.objects import delete_if_owned
from laneway_operator.apply.status import write_status_if_different
from laneway_operator.conditions import ConditionType, EventType, Happening, Reason
from laneway_operator.engine.errors import Conflict, NotFound
from laneway_operator.keys import Body, ObjectKey, key_of
from laneway_operator.observe.manifests import Manifests
from laneway_operator.observe.peers import Peers
from laneway_operator.observe.servers import ServerReader, Servers
from laneway_operator.passes.limiter_step import LimiterStep
from laneway_operator.passes.members import MemberReader
from laneway_operator.passes.troubles import TROUBLES
from laneway_operator.plan.status import Finding, conditions
from laneway_operator.toolbox import Toolbox

_AGAIN_S: Final = 1.0
_DEFAULT_DRAIN_S: Final = 60.0


class Deletion:
    """Cleans up after queues that are being deleted."""

    def __init__(
        self,
        tools: Toolbox,
        manifests: Manifests,
        members: MemberReader,
        servers: ServerReader,
        peers: Peers,
        limiter: LimiterStep,
    ) -> None:
        self._tools = tools
        self._manifests = manifests
        self._members = members
        self._servers = servers
        self._peers = peers
        self._limiter = limiter

    async def __call__(self, body: Body) -> float | None:
        """One step further. Returns in how many seconds to go on."""
        if not has_finalizer(body):
            return None
        left: str
        since = _seconds_since(body["metadata"]["deletionTimestamp"])
        drain_s = _DEFAULT_DRAIN_S
        await self._close_gateway(body)
        try:
            queue = self._manifests.queue(body)
            drain_s = duration_ms(queue.spec.drainTimeout) / 1000
            left = await self._clean(body, queue, draining=since < drain_s)
        except TROUBLES as error:
            left = str(error)
        if not left:
            self._tell_what_was_deleted(body)
            return await self._let_go(body)
        if since < drain_s + self._tools.settings.cleanup_deadline:
            await self._tell(body, left)
            return _AGAIN_S
        self._tools.events.emit(
            body, EventType.WARNING, Happening.CLEANUP_ABANDONED, f"{_remains(body)} stay behind: {left}"
        )
        return await self._let_go(body)

    async def _close_gateway(self, body: Body) -> None:
        name, namespace, uid = body["metadata"]["name"], body["metadata"]["namespace"], body["metadata"]["uid"]
        for key in (
            ObjectKey("Service", namespace, names.service_name(name)),
            ObjectKey("Deployment", namespace, names.gateway_name(name)),
        ):
            await delete_if_owned(self._tools.cluster, self._tools.cache, key, uid)

    async def _clean(self, body: Body, queue: TaskQueue, *, draining: bool) -> str:
        """Returns what is still to be done, or "". Raises one of TROUBLES."""
        servers = await self._servers.of_queue(queue)
        members = self._members.of(key_of(body))
        running = await self._running(body, queue, servers)
        if draining and running:
            return f"{running} tasks still run"
        if queue.spec.deletionPolicy == "Retain":
            return ""
        return await self._erase(body, servers, members.unreadable)

    async def _running(self, body: Body, queue: TaskQueue, servers: Servers) -> int:
        """How many tasks run, now that no others start."""
        key = key_of(body)
        seen = await self._peers.redis(servers.redis).look(key.namespace, key.name, ())
        if seen.raw is None:
            return 0  # it never had a configuration, so nobody could start anything
        members = self._members.of(key)
        found = await self._limiter(body, queue, servers.redis, members.lanes, members.unreadable, stopping=True)
        if not found.finding.ok and found.finding.reason is Reason.DEPENDENCY_UNAVAILABLE:
            raise Unavailable(found.finding.message, 1.0)
        return found.running if found.running is not None else seen.running

    async def _erase(self, body: Body, servers: Servers, unreadable: frozenset[str]) -> str:
        key, uid = key_of(body), body["metadata"]["uid"]
        poller = ObjectKey("Deployment", key.namespace, names.poller_name(key.name))
        await delete_if_owned(self._tools.cluster, self._tools.cache, poller, uid)
        problems: list[str] = []
        owned = [topic["name"] for topic in (body.get("status") or {}).get("topics") or () if topic.get("owned")]
        if owned and servers.kafka is not None:
            try:
                await self._peers.kafka(servers.kafka).delete(owned)  # ones that are gone already are fine
            except (Unavailable, ConfigError) as error:
                problems.append(str(error))
        # What still stops may write a last time: so once more, until it is gone, and there is nothing.
        if stopping := self._stopping(key):
            problems.append(f"still stopping: {', '.join(stopping)}")
        if erased := await erase_queue(servers.redis, key.namespace, key.name, self._tools.fence):
            problems.append(f"{erased} keys in Redis were just deleted; looking once more")
        return "; ".join(problems)

    def _stopping(self, key: ObjectKey) -> list[str]:
        """The pods of the queue's own parts that are there yet."""
        pods = self._tools.cache.find("queue", key.namespace, key.name, names.POD)
        return [
            pod["metadata"]["name"]
            for pod in pods
            if pod["metadata"].get("labels", {}).get(names.COMPONENT_LABEL) in ("gateway", "poller")
        ]

    def _tell_what_was_deleted(self, body: Body) -> None:
        if (body.get("spec") or {}).get("deletionPolicy") == "Delete":
            self._tools.events.emit(body, EventType.NORMAL, Happening.QUEUE_ERASED, f"deleted {_remains(body)}")

    async def _let_go(self, body: Body) -> float | None:
        try:
            await remove_finalizer(self._tools.cluster, self._tools.cache, body)
        except Conflict:
            return 0.2
        return None

    async def _tell(self, body: Body, left: str) -> None:
        finding = Finding(ConditionType.READY, False, Reason.DELETING, left)
        generation = int(body["metadata"]["generation"])
        status = {**(body.get("status") or {}), "conditions": conditions([finding], generation)}
        try:
            await write_status_if_different(self._tools.cluster, self._tools.cache, body, status)
        except NotFound:
            return


def _remains(body: Body) -> str:
    meta = body["metadata"]
    topics = [topic["name"] for topic in (body.get("status") or {}).get("topics") or () if topic.get("owned")]
    keys = f"the keys laneway:{{{meta['namespace']}/{meta['name']}}}:* in Redis"
    return f"the topics {', '.join(topics)} and {keys}" if topics else keys


def _seconds_since(stamp: str) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(stamp)).total_seconds()
