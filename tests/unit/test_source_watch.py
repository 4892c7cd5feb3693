"""A process hears that its queue's tasks come from elsewhere, and nothing else disturbs it."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from laneway.errors import Unavailable
from laneway.model.config import QueueConfig
from laneway.roles.source_watch import source_changed


class Store:
    """Gives these answers in turn, and the last one for ever; ``asked`` counts, ``often`` is set at ten."""

    def __init__(self, *answers: str | Exception) -> None:
        self._answers = list(answers)
        self.asked = 0
        self.often = asyncio.Event()

    async def config(self, *, reload: bool) -> QueueConfig:
        assert reload
        self.asked += 1
        if self.asked >= 10:
            self.often.set()
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return QueueConfig(source=answer)


async def changed(store: Any, *, kafka: bool) -> str:
    async with asyncio.timeout(5):
        return (await source_changed(store, "direct", kafka=kafka, every=0.001)).source


async def test_what_can_not_be_read_is_no_change() -> None:
    store = Store(
        Unavailable("away"), msgspec.DecodeError("edited"), msgspec.ValidationError("newer"), "direct", "kafka"
    )
    assert await changed(store, kafka=True) == "kafka"
    assert store.asked == 5


async def test_a_process_without_brokers_stays_as_it_is() -> None:
    store = Store("kafka")
    watch = asyncio.create_task(changed(store, kafka=False))
    await asyncio.wait_for(store.often.wait(), 5)
    assert not watch.done()
    watch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watch
