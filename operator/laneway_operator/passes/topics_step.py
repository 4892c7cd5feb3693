"""The step of a queue's pass that cares for its topics.

What is ours in one Kafka cluster is foreign in any other: another cluster may hold another queue's topics by the same
names. What a queue leaves in a former cluster stays listed in its status, with that cluster's id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from laneway.adapters.kafka.connection import TurnedAway
from laneway.errors import ConfigError, Unavailable
from laneway.model.manifests import TaskQueue
from laneway.model.servers import KafkaServer
from laneway.model.topics import Topics, TopicSpec
from laneway.policy.topics import plan_topics
from laneway_operator.apply.status import write_status_if_different
from laneway_operator.apply.topics import apply_topics
from laneway_operator.conditions import ConditionType, EventType, Happening, Reason
from laneway_operator.keys import Body, key_of
from laneway_operator.observe.peers import Peers
from laneway_operator.observe.topics import KafkaPeer
from laneway_operator.passes.troubles import finding_of
from laneway_operator.plan.status import Finding
from laneway_operator.plan.topics import (
    MOST_PARTITIONS,
    TopicsPlan,
    enough_partitions,
    listed_topics,
    name_by_cluster,
    owned_topics,
    plan_topic_changes,
)
from laneway_operator.toolbox import Toolbox

_READY = ConditionType.TOPICS_READY
#: As many as the CRD takes; the first are those in use.
MOST_LISTED: Final = 64


@dataclass(frozen=True, slots=True)
class TopicsFound:
    """``finding`` None: the queue has no Kafka. ``status`` is what status.topics is to say."""

    finding: Finding | None
    status: Sequence[dict[str, Any]] = ()


class TopicsStep:
    """Makes, grows and configures topics; takes over none that is foreign."""

    def __init__(self, tools: Toolbox, peers: Peers) -> None:
        self._tools = tools
        self._peers = peers
        self._servers: dict[str, KafkaServer] = {}

    async def __call__(
        self, body: Body, queue: TaskQueue, server: KafkaServer | None, workers: int
    ) -> tuple[TopicsFound, Body]:
        """Returns what it found, and the object as it is now. Raises NotLeading, and ClusterError when the status that
        must come first can't be written."""
        before = listed_topics(body)
        kafka = queue.spec.kafka
        if kafka is None or server is None:
            return TopicsFound(None, before), body
        names = Topics.of(queue.metadata.namespace, queue.metadata.name)
        specs = plan_topics(queue)
        wanted = enough_partitions(specs, names.tasks, workers)
        try:
            peer = self._peers.kafka(server)
            self._servers[names.tasks] = server
            survey = await peer.look([spec.name for spec in wanted])
            cluster, seen = survey.cluster, survey.topics
            plan = plan_topic_changes(wanted, seen, owned_topics(before, cluster), kafka.topics)
            claimed = tuple(spec.name for spec in plan.create if spec.name in plan.claim)
            if plan.claim:
                body = await self._claim(body, plan.claim, cluster, before)
                before = listed_topics(body)
            taken: tuple[str, ...] = ()
            if plan.changes:
                taken, seen = await self._apply(body, peer, plan, claimed, wanted)
        except ConfigError as error:
            return TopicsFound(Finding(_READY, False, Reason.KAFKA_REFUSED, str(error)), before), body
        except TurnedAway as error:
            return TopicsFound(Finding(_READY, False, Reason.ACCESS_DENIED, str(error)), before), body
        except Unavailable as error:
            return TopicsFound(finding_of(_READY, error), before), body
        # With Unmanaged they are somebody else's from now on, and are deleted by nobody but them.
        ours = set(owned_topics(before, cluster)) - set(taken) if kafka.topics != "Unmanaged" else set[str]()
        status = [
            {
                "name": spec.name,
                "cluster": cluster,
                "partitions": seen[spec.name].partitions if spec.name in seen else 0,
                "owned": spec.name in ours,
            }
            for spec in wanted
        ]
        # What the queue no longer uses stays listed: here it is still ours to delete; elsewhere people are to know it.
        status += [
            topic if topic["cluster"] != cluster else {**topic, "owned": topic["name"] in ours}
            for topic in before
            if topic["owned"] and (topic["cluster"] != cluster or topic["name"] not in {spec.name for spec in wanted})
        ]
        foreign = (*plan.foreign, *taken)
        finding = _finding(plan, foreign, specs, wanted, workers, _left(before, cluster))
        return TopicsFound(finding, status[:MOST_LISTED]), body

    def forget(self, names: Topics) -> None:
        """The queue is gone: nobody asks for its topics any more."""
        server = self._servers.pop(names.tasks, None)
        if server is not None:
            self._peers.kafka(server).forget([names.tasks, names.events, names.dead])

    async def _claim(self, body: Body, claim: Sequence[str], cluster: str, before: Sequence[dict[str, Any]]) -> Body:
        """Writes first what is to be ours: a crash between the two leaves a name without a topic, never a topic
        without an owner."""
        kept = [topic for topic in before if topic["name"] not in claim or topic["cluster"] != cluster]
        claimed = [{"name": name, "cluster": cluster, "partitions": 0, "owned": True} for name in claim]
        status = {**(body.get("status") or {}), "topics": [*claimed, *kept][:MOST_LISTED]}
        await write_status_if_different(self._tools.cluster, self._tools.cache, body, status)
        if left := _left(before, cluster):
            self._tools.events.emit(body, EventType.WARNING, Happening.TOPICS_LEFT_BEHIND, left)
        return self._tools.cache.get(key_of(body)) or {**body, "status": status}

    async def _apply(
        self, body: Body, peer: KafkaPeer, plan: TopicsPlan, claimed: Sequence[str], wanted: Sequence[TopicSpec]
    ) -> tuple[tuple[str, ...], Any]:
        applied = await apply_topics(peer, plan, claimed)
        adopted = [name for name in plan.claim if name not in claimed]
        if adopted:
            self._tell(body, Happening.TOPICS_ADOPTED, f"took over {', '.join(adopted)}")
        for happening, message in applied.told:
            self._tell(body, happening, message)
        return applied.taken, (await peer.look([spec.name for spec in wanted])).topics

    def _tell(self, body: Body, happening: Happening, message: str) -> None:
        self._tools.events.emit(body, EventType.NORMAL, happening, message)


def _left(topics: Sequence[dict[str, Any]], cluster: str) -> str:
    """What people should know of topics that are ours and not in this cluster."""
    elsewhere = [topic for topic in topics if topic["owned"] and topic["cluster"] != cluster]
    if not elsewhere:
        return ""
    return f"the queue is on Kafka cluster {cluster} now, and leaves topics behind: {name_by_cluster(elsewhere)}"


def _finding(
    plan: TopicsPlan,
    foreign: Sequence[str],
    specs: Sequence[TopicSpec],
    wanted: Sequence[TopicSpec],
    workers: int,
    left: str,
) -> Finding:
    if foreign:
        return Finding(
            _READY,
            False,
            Reason.FOREIGN_TOPIC,
            f"{', '.join(foreign)} exist and were not made for this queue: delete them, or set kafka.topics: Adopt to"
            f" take them over, or kafka.topics: Unmanaged to care for them yourself{'; ' if left else ''}{left}",
        )
    if plan.lacking:
        return Finding(_READY, False, Reason.TOPICS_LACKING, "; ".join(plan.lacking))
    said = list(plan.remarks)
    for asked, given in zip(specs, wanted, strict=True):
        if asked.partitions != given.partitions:
            said.append(
                f"{given.name} has {given.partitions} partitions rather than {asked.partitions}, since the pools may"
                f" have {workers} worker processes"
            )
    if workers > MOST_PARTITIONS:
        said.append(f"{workers} worker processes share {MOST_PARTITIONS} partitions")
    said += [left] if left else []
    return Finding(_READY, True, Reason.READY, "; ".join(said))
