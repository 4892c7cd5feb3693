"""Queues for the fault tests, on real servers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.flow.harness import Flow

from servers.kafka import KafkaServer
from servers.redis import RedisServer

#: Short times, so that faults are seen soon; long enough for a machine that has other things to do.
SHORT: dict[str, Any] = {"lease_ms": 1_500, "beat_ms": 250, "dispatch_ms": 1_000}

NewFlow = Callable[..., Flow]


@pytest.fixture
async def new_flow(tmp_path: Path) -> AsyncIterator[NewFlow]:
    """Makes flows that are ended with the test: ``new_flow(redis_url, **options of Flow)``."""
    async with AsyncExitStack() as stack:
        made: list[Flow] = []

        def make(redis: str, **options: object) -> Flow:
            folder = tmp_path / str(len(made))
            folder.mkdir()
            flow = Flow(redis, folder, **options)  # type: ignore[arg-type]
            made.append(flow)
            stack.push_async_exit(flow)
            return flow

        yield make


@pytest.fixture(params=["direct", "kafka"])
def kafka_or_none(request: pytest.FixtureRequest) -> str | None:
    """The broker for flows over Kafka, and None for flows without."""
    return None if request.param == "direct" else str(request.getfixturevalue("kafka").bootstrap)


@pytest.fixture
async def flow(redis7: RedisServer, redis7_url: str, kafka_or_none: str | None, new_flow: NewFlow) -> Flow:
    """A queue on the session's Redis, directly and over Kafka in turn, configured with short times."""
    flow = new_flow(redis7_url, kafka=kafka_or_none)
    await flow.configure(**SHORT)
    return flow


@pytest.fixture
async def direct_flow(redis7_url: str, new_flow: NewFlow) -> Flow:
    """A queue on the session's Redis without Kafka, configured with short times."""
    flow = new_flow(redis7_url)
    await flow.configure(**SHORT)
    return flow


@pytest.fixture
def crash_redis(new_redis: Callable[..., RedisServer]) -> RedisServer:
    """A Redis of the test's own, to be killed and restarted."""
    return new_redis()


@pytest.fixture
async def kafka_flow(redis7_url: str, kafka: KafkaServer, new_flow: NewFlow) -> Flow:
    """A queue on the session's Redis over Kafka, configured with short times."""
    flow = new_flow(redis7_url, kafka=kafka.bootstrap)
    await flow.configure(**SHORT)
    return flow
