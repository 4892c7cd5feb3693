"""Makes a queue's topics as planned. What is to be ours has been written into the status before."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from laneway.errors import ConfigError
from laneway_operator.conditions import Happening
from laneway_operator.observe.topics import KafkaPeer
from laneway_operator.plan.topics import TopicsPlan


@dataclass(frozen=True, slots=True)
class Applied:
    """What was done, as events tell it, and ``taken``: topics that somebody else made in the last moment."""

    told: tuple[tuple[Happening, str], ...] = ()
    taken: tuple[str, ...] = ()


async def apply_topics(kafka: KafkaPeer, plan: TopicsPlan, claimed: Collection[str]) -> Applied:
    """Carries out a plan. ``claimed`` were written into the status in this very pass, so nobody but another
    program can have made them meanwhile.

    Raises:
        Unavailable: Kafka is away, or does not allow it.
        ConfigError: it does not take what was asked for.
        NotLeading: this process may not write.
    """
    told: list[tuple[Happening, str]] = []
    taken: list[str] = []
    if plan.create:
        made = await kafka.create(plan.create)
        taken = [spec.name for spec in plan.create if spec.name not in made and spec.name in claimed]
        if made:
            told.append((Happening.TOPICS_MADE, f"made {', '.join(made)}"))
    for name, partitions in plan.grow.items():
        await _grow(kafka, name, partitions)
        told.append((Happening.TOPIC_GROWN, f"{name} has {partitions} partitions now"))
    for name, configs in plan.configure.items():
        await kafka.configure(name, configs)
        what = ", ".join(f"{key}={value}" for key, value in sorted(configs.items()))
        told.append((Happening.TOPIC_CONFIGURED, f"set {what} on {name}"))
    return Applied(tuple(told), tuple(taken))


async def _grow(kafka: KafkaPeer, name: str, partitions: int) -> None:
    try:
        await kafka.grow(name, partitions)
    except ConfigError:
        # What was seen may be older than our own last change.
        state = (await kafka.look([name])).topics.get(name)
        if state is None or state.partitions < partitions:
            raise
