"""The end of a TaskQueue: no submissions, nothing new starts, what runs may end, and then topics and data by policy.

Nothing that can't be reached holds it up for ever: after a deadline the object goes, and an event names what is
left behind.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from laneway.kit.quantities import duration_ms
from laneway.model.manifests import TaskQueue
from laneway.model.servers import RedisServer
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
from laneway_operator.observe.secrets import SecretForbidden, SecretNotFound
from laneway_operator.observe.servers import SecretInvalid, ServerReader
from laneway_operator.passes.limiter_step import LimiterStep
from laneway_operator.passes.redis_step import RedisStep
from laneway_operator.passes.troubles import TROUBLES
from laneway_operator.plan.redis_home import home_of, without_kafka
from laneway_operator.plan.status import Finding, conditions
from laneway_operator.plan.topics import listed_topics, name_by_cluster, owned_topics
from laneway_operator.toolbox import Toolbox

_AGAIN_S: Final = 1.0
_DEFAULT_DRAIN_S: Final = 60.0
_NO_SECRET: Final = (SecretNotFound, SecretForbidden, SecretInvalid)


@dataclass(slots=True)
class Cleaned:
    """How far one step came. ``todo`` is what is still to be done, or ""; ``deleted`` is what was; ``left`` is what
    nobody here may or can delete."""

    todo: str = ""
    deleted: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


class Deletion:
    """Cleans up after queues that are being deleted."""

    def __init__(
        self,
        tools: Toolbox,
        manifests: Manifests,
        servers: ServerReader,
        peers: Peers,
        limiter: LimiterStep,
        redis: RedisStep,
    ) -> None:
        self._tools = tools
        self._manifests = manifests
        self._servers = servers
        self._peers = peers
        self._limiter = limiter
        self._redis = redis

    async def __call__(self, body: Body) -> float | None:
        """One step further. Returns in how many seconds to go on."""
        if not has_finalizer(body):
            return None
        cleaned, forever = Cleaned(), False
        since = _seconds_since(body["metadata"]["deletionTimestamp"])
        drain_s = _DEFAULT_DRAIN_S
        await self._close_gateway(body)
        try:
            queue = self._manifests.queue(body)
            drain_s = duration_ms(queue.spec.drainTimeout) / 1000
            cleaned = await self._clean(body, queue, draining=since < drain_s)
        except TROUBLES as error:
            cleaned.todo = str(error)
            # With Retain there is nothing to undo, so a Secret that went first (with its namespace) holds up nothing.
            forever = isinstance(error, _NO_SECRET) and _retains(body)
        if not cleaned.todo:
            self._tell_the_end(body, cleaned)
            return await self._let_go(body)
        if since < drain_s + self._tools.settings.cleanup_deadline and not forever:
            await self._tell(body, cleaned.todo)
            return _AGAIN_S
        self._tools.events.emit(body, EventType.WARNING, Happening.CLEANUP_ABANDONED, _abandoned(body, cleaned.todo))
        return await self._let_go(body)

    async def _close_gateway(self, body: Body) -> None:
        name, namespace, uid = body["metadata"]["name"], body["metadata"]["namespace"], body["metadata"]["uid"]
        for key in (
            ObjectKey("Service", namespace, names.service_name(name)),
            ObjectKey("Deployment", namespace, names.gateway_name(name)),
        ):
            await delete_if_owned(self._tools.cluster, self._tools.cache, key, uid)

    async def _clean(self, body: Body, queue: TaskQueue, *, draining: bool) -> Cleaned:
        """One attempt. Raises one of TROUBLES."""
        redis = (await self._servers.of_queue(without_kafka(queue))).redis
        moved = await self._redis.held(body, redis)
        if moved is not None and moved.reason is not Reason.REDIS_MOVED:
            return Cleaned(todo=moved.message)
        # What another Redis holds under this name is not this queue's.
        running = 0 if moved is not None else await self._limiter.pause(body, queue, redis)
        if draining and running:
            return Cleaned(todo=f"{running} tasks still run")
        if queue.spec.deletionPolicy == "Retain":
            return Cleaned()
        return await self._erase(body, queue, redis if moved is None else None)

    async def _erase(self, body: Body, queue: TaskQueue, redis: RedisServer | None) -> Cleaned:
        """``redis`` None: the queue's data is not where the manifest says, and stays there."""
        key, uid = key_of(body), body["metadata"]["uid"]
        poller = ObjectKey("Deployment", key.namespace, names.poller_name(key.name))
        await delete_if_owned(self._tools.cluster, self._tools.cache, poller, uid)
        cleaned, problems = Cleaned(), list[str]()
        try:
            await self._delete_topics(body, queue, cleaned)
        except TROUBLES as error:
            problems.append(str(error))
        # What still stops may write a last time: so once more, until it is gone, and there is nothing.
        if stopping := self._stopping(key):
            problems.append(f"still stopping: {', '.join(stopping)}")
        if redis is None:
            cleaned.left.append(_data(body))
        elif erased := await erase_queue(redis, key.namespace, key.name, self._tools.fence):
            problems.append(f"{erased} keys in Redis were just deleted; looking once more")
        else:
            cleaned.deleted.append(_data(body))
        cleaned.todo = "; ".join(problems)
        return cleaned

    async def _delete_topics(self, body: Body, queue: TaskQueue, cleaned: Cleaned) -> None:
        """Only those in the cluster that they were made in. Raises one of TROUBLES."""
        owned = [topic for topic in listed_topics(body) if topic["owned"]]
        if not owned:
            return
        here: list[str] = []
        server = (await self._servers.of_queue(queue)).kafka
        if server is not None:
            peer = self._peers.kafka(server)
            cluster = await peer.cluster()
            here = owned_topics(owned, cluster)
            await peer.delete(here)  # ones that are gone already are fine
            owned = [topic for topic in owned if topic["cluster"] != cluster]
        if here:
            cleaned.deleted.append(f"the topics {', '.join(here)}")
        if owned:
            cleaned.left.append(f"the topics {name_by_cluster(owned)}, which is not the Kafka that spec.kafka names")

    def _stopping(self, key: ObjectKey) -> list[str]:
        """The pods of the queue's own parts that are there yet."""
        pods = self._tools.cache.find("queue", key.namespace, key.name, names.POD)
        return [
            pod["metadata"]["name"]
            for pod in pods
            if pod["metadata"].get("labels", {}).get(names.COMPONENT_LABEL) in ("gateway", "poller")
        ]

    def _tell_the_end(self, body: Body, cleaned: Cleaned) -> None:
        if cleaned.deleted:
            said = f"deleted {' and '.join(cleaned.deleted)}"
            self._tools.events.emit(body, EventType.NORMAL, Happening.QUEUE_ERASED, said)
        if cleaned.left:
            said = f"{' and '.join(cleaned.left)} stay behind"
            self._tools.events.emit(body, EventType.WARNING, Happening.CLEANUP_ABANDONED, said)

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


def _retains(body: Body) -> bool:
    return bool((body.get("spec") or {}).get("deletionPolicy", "Retain") == "Retain")


def _abandoned(body: Body, why: str) -> str:
    if _retains(body):
        return f"its tasks were not waited for, and perhaps others still start: {why}. {_data(body)} stay, as asked for"
    topics = [topic for topic in listed_topics(body) if topic["owned"]]
    of_kafka = f"the topics {name_by_cluster(topics)} and " if topics else ""
    return f"{of_kafka}{_data(body)} stay behind, or some of that: {why}"


def _data(body: Body) -> str:
    meta, home = body["metadata"], home_of(body)
    at = f" at {home.address}" if home else ""
    return f"the keys laneway:{{{meta['namespace']}/{meta['name']}}}:* in Redis{at}"


def _seconds_since(stamp: str) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(stamp)).total_seconds()
