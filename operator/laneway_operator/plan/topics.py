"""Which topics to make, grow and configure, and which to leave alone; and whose those are that a status lists."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from laneway.adapters.kafka.admin import TopicState
from laneway.model.manifests import WorkerPool
from laneway.model.topics import TopicSpec
from laneway_operator.keys import Body

Care = Literal["Managed", "Adopt", "Unmanaged"]

#: Workers beyond so many share partitions: each partition costs brokers memory and files, whoever reads it.
MOST_PARTITIONS: Final = 1_000


@dataclass(frozen=True, slots=True)
class TopicsPlan:
    """What to do about the topics of a queue.

    ``claim`` are names that are not ours yet and shall be: they must be written into the status before anything is
    done to them. ``foreign`` exist and are not ours; ``lacking`` says what is wrong with topics that somebody else
    cares for; ``remarks`` is what people should know and nobody can repair.
    """

    create: tuple[TopicSpec, ...] = ()
    grow: Mapping[str, int] = field(default_factory=dict)
    configure: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    claim: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether anything is to be done."""
        return bool(self.create or self.grow or self.configure or self.claim)


def listed_topics(body: Body) -> list[dict[str, Any]]:
    """The topics that the status of a queue lists. One without a cluster is not known to be anywhere, and left out."""
    return [
        {"name": topic["name"], "cluster": topic["cluster"], "partitions": topic.get("partitions", 0),
         "owned": topic.get("owned", False)}
        for topic in (body.get("status") or {}).get("topics") or ()
        if topic.get("cluster")
    ]  # fmt: skip


def owned_topics(topics: Sequence[dict[str, Any]], cluster: str) -> list[str]:
    """The names of those that are ours in this Kafka cluster."""
    return [topic["name"] for topic in topics if topic["owned"] and topic["cluster"] == cluster]


def name_by_cluster(topics: Sequence[dict[str, Any]]) -> str:
    """These topics in a sentence: "a, b (Kafka cluster X) and c (Kafka cluster Y)"; "" for none."""
    clusters: dict[str, list[str]] = {}
    for topic in topics:
        clusters.setdefault(topic["cluster"], []).append(topic["name"])
    return " and ".join(f"{', '.join(names)} (Kafka cluster {cluster})" for cluster, names in clusters.items())


def most_workers(pools: Collection[WorkerPool]) -> int:
    """How many workers the pools may have at most. Each process is one, with a partition of its own."""
    return sum(
        (pool.spec.scaling.max if pool.spec.scaling else pool.spec.replicas) * pool.spec.processes for pool in pools
    )


def enough_partitions(specs: tuple[TopicSpec, ...], tasks: str, workers: int) -> tuple[TopicSpec, ...]:
    """The same topics, with a partition of the topic ``tasks`` for each worker, at most MOST_PARTITIONS."""
    wanted = min(workers, MOST_PARTITIONS)
    return tuple(
        dataclasses.replace(spec, partitions=wanted) if spec.name == tasks and spec.partitions < wanted else spec
        for spec in specs
    )


def plan_topic_changes(
    wanted: tuple[TopicSpec, ...], seen: Mapping[str, TopicState], owned: Collection[str], care: Care
) -> TopicsPlan:
    """What makes the topics that were ``seen`` be as ``wanted``. ``owned`` are those that the status lists as ours."""
    if care == "Unmanaged":
        return TopicsPlan(lacking=tuple(what for spec in wanted for what in _lacks(spec, seen.get(spec.name))))
    create: list[TopicSpec] = []
    grow: dict[str, int] = {}
    configure: dict[str, Mapping[str, str]] = {}
    claim: list[str] = []
    foreign: list[str] = []
    remarks: list[str] = []
    for spec in wanted:
        state = seen.get(spec.name)
        if state is not None and spec.name not in owned and care == "Managed":
            foreign.append(spec.name)
            continue
        if spec.name not in owned:
            claim.append(spec.name)
        if state is None:
            create.append(spec)
            continue
        if state.partitions < spec.partitions:
            grow[spec.name] = spec.partitions
        if different := _differs(spec, state):
            configure[spec.name] = different
        if 0 < state.replication < spec.replication:
            remarks.append(
                f"{spec.name} has {state.replication} of the {spec.replication} copies that replicationFactor asks for:"
                " reassign its partitions (Kafka can't do that by itself)"
            )
    return TopicsPlan(tuple(create), grow, configure, tuple(claim), tuple(foreign), remarks=tuple(remarks))


def _differs(spec: TopicSpec, state: TopicState) -> dict[str, str]:
    return {name: value for name, value in spec.configs.items() if state.configs.get(name) != value}


def _lacks(spec: TopicSpec, state: TopicState | None) -> list[str]:
    if state is None:
        return [f"{spec.name} is missing (it needs {spec.partitions} partitions)"]
    found = []
    if state.partitions < spec.partitions:
        found.append(f"{spec.name} has {state.partitions} partitions and needs {spec.partitions}")
    largest, needed = state.configs.get("max.message.bytes"), spec.configs.get("max.message.bytes")
    if largest is not None and needed is not None and int(largest) < int(needed):
        found.append(f"{spec.name} has max.message.bytes {largest} and needs {needed}")
    return found
