"""The pass of a TaskQueue: topics, limiter, what runs, and a status that says so.

Its parts do not wait for each other: with Kafka away the limiter is still configured and pods still run, and
nothing is ever torn down because something can't be reached.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

import laneway
from laneway.model.config import QueueConfig
from laneway.model.manifests import TaskQueue
from laneway.model.topics import Topics
from laneway_operator import names
from laneway_operator.apply.finalizers import add_finalizer, has_finalizer
from laneway_operator.apply.status import write_status_if_different
from laneway_operator.conditions import ConditionType, Reason
from laneway_operator.engine.errors import Conflict, NotFound
from laneway_operator.keys import Body, ObjectKey, key_of
from laneway_operator.observe.manifests import Manifests
from laneway_operator.observe.peers import Peers
from laneway_operator.observe.secrets import Secrets
from laneway_operator.observe.servers import ServerReader, Servers, default_redis
from laneway_operator.passes.deletion import Deletion
from laneway_operator.passes.gateway_keys_step import GatewayKeysStep
from laneway_operator.passes.limiter_step import LimiterStep
from laneway_operator.passes.live import LiveQueue, LiveQueues
from laneway_operator.passes.members import MemberReader
from laneway_operator.passes.objects_step import apply_objects
from laneway_operator.passes.redis_step import RedisStep, Settled
from laneway_operator.passes.topics_step import TopicsFound, TopicsStep
from laneway_operator.passes.troubles import TROUBLES, finding_of
from laneway_operator.passes.workloads_step import deployment_of, workload
from laneway_operator.plan.status import Finding, conditions, held, magnitude, same_but_for_times, told
from laneway_operator.plan.topics import most_workers
from laneway_operator.resources.parts import gateway_part, queue_objects
from laneway_operator.toolbox import Toolbox

#: Drift of Redis and Kafka shows in no watch: within so long (s) it is looked for.
_AGAIN_S: Final = 5.0
#: Nor does a Secret that is made at last.
_SOON_S: Final = 3.0
_LONGEST_PAUSE_S: Final = 15.0
#: So long (s) the depth must be of another order before that alone is written.
_DEPTH_PAUSE_S: Final = 30.0
_PARTS: Final = ("gateway", "poller")


class QueuePass:
    """Makes everything of a TaskQueue as its manifest says."""

    def __init__(
        self,
        tools: Toolbox,
        manifests: Manifests,
        servers: ServerReader,
        secrets: Secrets,
        peers: Peers,
        live: LiveQueues,
        clock: Callable[[], float],
    ) -> None:
        self._tools = tools
        self._manifests = manifests
        self._servers = servers
        self._members = MemberReader(tools.cache, manifests)
        self._live = live
        self._clock = clock
        self._topics = TopicsStep(tools, peers)
        self._keys = GatewayKeysStep(tools, secrets, clock)
        self._limiter = LimiterStep(tools, peers, clock)
        self._redis = RedisStep(tools)
        self._deletion = Deletion(tools, manifests, servers, peers, self._limiter, self._redis)
        self._failures: dict[ObjectKey, int] = {}
        self._depth_differs: dict[ObjectKey, float] = {}

    async def __call__(self, key: ObjectKey) -> float | None:
        body = self._tools.cache.get(key)
        if body is None:
            self._forget(key)
            return None
        deleting = bool(body["metadata"].get("deletionTimestamp"))
        if names.paused(body) and (has_finalizer(body) or not deleting):
            await self._write(body, held(body.get("status") or {}, body["metadata"]["generation"], deleting=deleting))
            return None
        if deleting:
            return await self._deletion(body)
        try:
            body = await add_finalizer(self._tools.cluster, self._tools.cache, body)
        except (Conflict, NotFound):
            return 0.2  # the object is newer than the cache
        return await self._reconcile(key, body)

    async def _reconcile(self, key: ObjectKey, body: Body) -> float:
        try:
            queue = self._manifests.queue(body)
            servers = await self._servers.of_queue(queue)
        except TROUBLES as error:
            # What there is stays as it is: a Secret that is away for a moment must not stop a queue.
            finding = finding_of(ConditionType.LIMITER_READY, error)
            self._note_live(key, LiveQueue(finding))
            await self._tell(key, body, [finding, *self._pods_as_they_are(key, body)], {})
            return _SOON_S
        if moved := await self._redis.held(body, servers.redis):
            # Pods and configuration stay on the server that has the tasks.
            self._note_live(key, LiveQueue(moved))
            findings = [moved, *self._pods_as_they_are(key, body)]
            await self._tell(key, body, findings, {})
            return self._pause(key, findings)
        members = self._members.of(key)
        # First: a pod whose Secret is not there yet is tried again only after a while.
        keys = await self._keys(body, queue)
        if keys is not None and keys.reason is Reason.ACCESS_DENIED and not queue.spec.gateway.auth.needs_own_keys:
            # No pod is made or changed for a Secret that may not be used.
            self._note_live(key, LiveQueue(keys))
            findings = [keys, *(one for one in self._pods_as_they_are(key, body) if one.type is not keys.type)]
            await self._tell(key, body, findings, {})
            return _SOON_S
        before = {part: deployment_of(self._tools.cache, key, part) for part in _PARTS}
        (topics, body), limiter, objects = await asyncio.gather(
            self._topics(body, queue, servers.kafka, most_workers(members.pools)),
            self._limiter(body, queue, servers.redis, members.lanes, members.unreadable),
            apply_objects(self._tools, body, self._objects(queue, body, servers)),
        )
        settled = Settled((body.get("status") or {}).get("redis"))
        if limiter.finding.ok:
            settled = await self._redis.settle(body, servers.redis, anew=limiter.anew)
        self._note_live(key, LiveQueue(limiter.finding, limiter.config, members.generations, members.lanes.beaten))
        findings = [*([topics.finding] if topics.finding else []), settled.finding or limiter.finding]
        counts = {"gateway": queue.spec.gateway.replicas, "poller": queue.spec.poller.replicas}
        findings += [
            (keys if part == "gateway" else None)
            or objects.get(part)
            or workload(self._tools.cache, body, key, part, counts[part], before[part])
            for part in _PARTS
        ]
        fields = self._fields(body, queue, topics, limiter.config, len(members.pools))
        fields["redis"] = settled.status
        await self._tell(key, body, findings, fields, depth=limiter.waiting)
        return self._pause(key, findings)

    def _pods_as_they_are(self, key: ObjectKey, body: Body) -> list[Finding]:
        seen = ((part, deployment_of(self._tools.cache, key, part)) for part in _PARTS)
        return [
            workload(self._tools.cache, body, key, part, None, deployment)
            for part, deployment in seen
            if deployment is not None
        ]

    def _objects(self, queue: TaskQueue, body: Body, servers: Servers) -> list[Body]:
        default = default_redis(self._tools.settings)
        return queue_objects(
            queue,
            body,
            image=self._tools.settings.runtime_image,
            version=laneway.__version__,
            default_redis=default or "",
            credentials_hash=servers.hash,
        )

    # -- lanes

    def _note_live(self, key: ObjectKey, live: LiveQueue) -> None:
        if self._live.put(key, live):
            for lane in self._tools.cache.find("queue", key.namespace, key.name, names.LANE):
                self._tools.wake(key_of(lane, names.LANE))

    # -- the status

    def _fields(
        self, body: Body, queue: TaskQueue, topics: TopicsFound, config: QueueConfig | None, pools: int
    ) -> dict[str, Any]:
        namespace, name = queue.metadata.namespace, queue.metadata.name
        return {
            "source": queue.source,
            "version": laneway.__version__,
            "configVersion": config.version if config else (body.get("status") or {}).get("configVersion"),
            "endpoint": f"http://{names.service_name(name)}.{namespace}.svc",
            "topics": list(topics.status),
            "lanes": sum(not lane.gone for lane in config.lanes) if config else (body.get("status") or {}).get("lanes"),
            "pools": pools,
            "selector": gateway_part(body, laneway.__version__).selector_text(),
        }

    async def _tell(
        self, key: ObjectKey, body: Body, findings: Sequence[Finding], fields: dict[str, Any], depth: int | None = None
    ) -> None:
        live = (self._tools.cache.get(key) or body).get("status") or {}
        paused = "spec.paused: tasks are accepted and wait" if (body.get("spec") or {}).get("paused") else ""
        generation = int(body["metadata"]["generation"])
        status: Body = {
            **live,
            **fields,
            "observedGeneration": generation,
            "conditions": conditions(findings, generation, paused=paused),
        }
        if depth is not None and self._depth_is_news(key, status, live, depth):
            status["depth"] = depth
        await self._write(body, status)

    def _depth_is_news(self, key: ObjectKey, status: Body, live: Body, depth: int) -> bool:
        if not same_but_for_times(status, live, without=("depth",)):
            self._depth_differs.pop(key, None)
            return True
        if magnitude(depth) == magnitude(live.get("depth")):
            self._depth_differs.pop(key, None)
            return False
        return self._clock() - self._depth_differs.setdefault(key, self._clock()) > _DEPTH_PAUSE_S

    async def _write(self, body: Body, status: Body) -> None:
        before = (body.get("status") or {}).get("conditions") or []
        try:
            written = await write_status_if_different(self._tools.cluster, self._tools.cache, body, status)
        except NotFound:
            return
        if written:
            self._tools.events.emit_transitions(body, told(before), told(status["conditions"]))

    # -- the next pass

    def _pause(self, key: ObjectKey, findings: Sequence[Finding]) -> float:
        """Longer from time to time while a server is away."""
        if all(finding.reason != Reason.DEPENDENCY_UNAVAILABLE for finding in findings):
            self._failures.pop(key, None)
            return _AGAIN_S
        failures = self._failures[key] = min(self._failures.get(key, 0) + 1, 8)
        return float(min(2.0 * 1.5**failures, _LONGEST_PAUSE_S))

    def _forget(self, key: ObjectKey) -> None:
        self._failures.pop(key, None)
        self._depth_differs.pop(key, None)
        self._live.forget(key)
        self._keys.forget(key)
        self._limiter.forget(key)
        self._topics.forget(Topics.of(key.namespace, key.name))
