"""Which topics to make, grow and configure, and which to leave alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from laneway.adapters.kafka.admin import TopicState
from laneway.model.manifests import WorkerPool
from laneway.model.topics import TopicSpec

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
