"""Kafka's topics as tests look at them, without an event loop of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from laneway.adapters.kafka.admin import TopicAdmin, TopicState
from laneway.model.servers import KafkaServer
from laneway.model.topics import TopicSpec

_T = TypeVar("_T")


class TestTopics:
    """The topics of a broker. Each call has a client of its own."""

    __test__ = False

    def __init__(self, server: KafkaServer | str) -> None:
        self._server = server

    def get(self, *names: str) -> dict[str, TopicState]:
        """Those that exist."""
        return self._call(lambda admin: admin.describe(names))

    def make(self, *specs: TopicSpec) -> None:
        """Makes topics."""
        self._call(lambda admin: admin.create(specs))

    def configure(self, name: str, **configs: str) -> None:
        """Sets settings; an underscore stands for a dot."""
        self._call(
            lambda admin: admin.configure(name, {key.replace("_", "."): value for key, value in configs.items()})
        )

    def delete(self, names: Sequence[str]) -> None:
        """Deletes topics."""
        self._call(lambda admin: admin.delete(names))

    def _call(self, call: Callable[[TopicAdmin], Awaitable[_T]]) -> _T:
        async def run() -> _T:
            admin = TopicAdmin(self._server)
            try:
                return await call(admin)
            finally:
                await admin.close()

        return asyncio.run(run())
