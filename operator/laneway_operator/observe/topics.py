"""The topics of queues, by one client per Kafka cluster that all queues on it share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeVar

from laneway.adapters.kafka.admin import TopicAdmin, TopicState
from laneway.errors import LanewayError
from laneway.model.servers import KafkaServer
from laneway.model.topics import TopicSpec
from laneway_operator.engine.fence import Fence
from laneway_operator.observe.sharing import SharedRead

_T = TypeVar("_T")
FRESH_S: Final = 2.0
_TIMEOUT_S: Final = 5.0


class KafkaPeer:
    """One Kafka cluster. What was asked for once is described again with all the rest, in one request.

    Raises: Unavailable when Kafka is away or does not allow it, ConfigError when it refuses; NotLeading where
    something would be written.
    """

    def __init__(
        self, server: KafkaServer, fence: Fence, clock: Callable[[], float], count: Callable[[str, bool], None]
    ) -> None:
        """Raises ConfigError when a certificate's file is wrong."""
        self.server = server
        self._admin = TopicAdmin(server, timeout=_TIMEOUT_S)
        self._fence = fence
        self._count = count
        self._names: dict[str, None] = {}
        self._seen: SharedRead[tuple[frozenset[str], dict[str, TopicState]]] = SharedRead(
            self._describe_all, FRESH_S, clock
        )
        self._stale: set[str] = set()

    async def look(self, names: Sequence[str]) -> Mapping[str, TopicState]:
        """Those of the topics that exist."""
        self._names.update(dict.fromkeys(names))
        asked, states = await self._seen()
        if not asked.issuperset(names) or not self._stale.isdisjoint(names):
            # (They stay stale until all are described anew: what is shared is still from before.)
            return await self._call("describe", self._admin.describe(names))
        return {name: states[name] for name in names if name in states}

    async def create(self, specs: Sequence[TopicSpec]) -> list[str]:
        """Makes topics; returns those made, without those that were there."""
        return await self._write("create", [spec.name for spec in specs], lambda: self._admin.create(specs))

    async def grow(self, name: str, partitions: int) -> None:
        """Raises the number of a topic's partitions."""
        await self._write("grow", [name], lambda: self._admin.grow(name, partitions))

    async def configure(self, name: str, configs: Mapping[str, str]) -> None:
        """Sets some of a topic's settings."""
        await self._write("configure", [name], lambda: self._admin.configure(name, configs))

    async def delete(self, names: Sequence[str]) -> None:
        """Deletes topics; ones that are not there are fine."""
        await self._write("delete", names, lambda: self._admin.delete(names))

    def forget(self, names: Sequence[str]) -> None:
        """Nobody asks for these any more."""
        for name in names:
            self._names.pop(name, None)
            self._stale.discard(name)

    async def close(self) -> None:
        """Ends the connection."""
        await self._seen.close()
        await self._admin.close()

    async def _write(self, what: str, names: Sequence[str], call: Callable[[], Awaitable[_T]]) -> _T:
        self._fence.check()
        try:
            return await self._call(what, call())
        finally:
            # What was read before, or meanwhile, does not count any more.
            self._stale.update(names)

    async def _describe_all(self) -> tuple[frozenset[str], dict[str, TopicState]]:
        names = list(self._names)
        self._stale.clear()
        return frozenset(names), await self._call("describe", self._admin.describe(names))

    async def _call(self, name: str, call: Awaitable[_T]) -> _T:
        try:
            answer = await call
        except LanewayError:
            self._count(name, False)
            raise
        self._count(name, True)
        return answer
