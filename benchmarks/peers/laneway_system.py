"""Laneway as a system of the bench: both sources of tasks, everything at its default."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

from benchmarks.peers.session import Session
from benchmarks.peers.system import Crew, System

from laneway.adapters.kafka.admin import ensure_topics
from laneway.adapters.redis import RedisStore
from laneway.model.config import LaneConfig, QueueConfig
from laneway.model.topics import Topics

_ENDED = ("succeeded", "dead", "cancelled", "expired", "purged")
_LANES = {"urgent": (LaneConfig(n=1, name="urgent", prio=100), LaneConfig(n=2, name="normal"))}
_PARTITIONS = 8
T = TypeVar("T")


def _run(session: Session, work: Coroutine[Any, Any, T]) -> T:
    return session.loop.run_until_complete(work)


def _prepare(session: Session) -> None:
    """Configures the queue as a manifest with nothing but its lanes would, and makes its topics."""
    store = RedisStore(session.url, session.queue)
    source = "kafka" if session.system.kafka else "direct"
    lanes = _LANES.get(session.plan, (LaneConfig(n=1, name="normal"),))
    _run(session, store.configure(QueueConfig(lanes=lanes, default_lane="normal", source=source), {}, expected=None))
    if session.kafka and session.system.kafka:
        topics = Topics.of("default", session.queue)
        _run(session, ensure_topics(session.kafka.bootstrap, topics, partitions=_PARTITIONS))
    session.state |= {"store": store, "close": lambda: _run(session, _close(store))}


async def _close(store: RedisStore) -> None:
    await store.close()
    await asyncio.sleep(0)  # what it cancelled ends before the loop does


def _pending(session: Session) -> int:
    """Tasks that have not ended, and after the last one also events that are not published yet."""
    stats = _run(session, session.state["store"].stats())
    counts = stats.counts
    left = counts["submitted"] - sum(counts[name] for name in _ENDED)
    bad = {name: counts[name] for name in ("dead", "cancelled", "expired") if counts[name]}
    if bad:
        raise RuntimeError(f"tasks ended as they should not: {bad}")
    return int(left)


def _background(session: Session) -> list[list[str]]:
    return [[sys.executable, "-m", "laneway", "poller", "--queue", session.queue, "--log-level", "warning"]]


def _workers(crew: Crew) -> list[list[str]]:
    command = [sys.executable, "-m", "laneway", "worker", "adapter:app", "--slots", str(crew.slots)]
    command += ["--drain", "2s", "--log-level", "warning"]
    return [command] * crew.processes


def _system(name: str, title: str, kafka: bool, *settings: str) -> System:
    return System(
        name=name, title=title, language="Python", folder="laneway", kafka=kafka,
        versions=("laneway", "redis", "hiredis", "uvloop", "msgspec", "aiokafka"),
        workers=_workers, slots=256, pending=_pending, prepare=_prepare, background=_background,
        settings=(
            *settings,
            "256 slots to a process; a process to a core",
            "bulk: submit_many with 1,000 calls at a time, two under way",
            "leases, fencing numbers, limits, retries, fair shares and the event log: on, at their defaults",
        ),
        notes={"urgent": "two lanes", "flood": "tenants, fair by default"},
    )  # fmt: skip


SYSTEMS = (
    _system("laneway-direct", "Laneway direct", False, "workers claim from Redis; a poller beside them"),
    _system("laneway-kafka", "Laneway kafka", True, "pollers dispatch by Kafka, 8 partitions, acks=all"),
)
