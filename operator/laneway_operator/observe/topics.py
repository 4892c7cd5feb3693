"""The topics of queues, by one client per Kafka cluster that all queues on it share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeVar

from laneway.adapters.kafka.admin import Survey, TopicAdmin
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
        self._seen: SharedRead[tuple[frozenset[str], Survey]] = SharedRead(
            self._describe_all, FRESH_S, clock, of=f"Kafka at {server.bootstrap}"
        )
        self._stale: set[str] = set()

    async def look(self, names: Sequence[str]) -> Survey:
        """The id of the cluster, and those of the topics that exist. Raises also what Kafka refused for one of them;
        that others ask for topics which they may not see is no concern of these."""
        self._names.update(dict.fromkeys(names))
        asked, survey = await self._seen()
        if not asked.issuperset(names) or not self._stale.isdisjoint(names):
            # (They stay stale until all are described anew: what is shared is still from before.)
            survey = await self._call("describe", self._admin.survey(names))
        for name in names:
            if name in survey.refused:
                raise survey.refused[name].with_traceback(None)
        return Survey(survey.cluster, {name: survey.topics[name] for name in names if name in survey.topics}, {})

    async def cluster(self) -> str:
        """The id of the cluster, asked for now."""
        return (await self._call("describe", self._admin.survey([]))).cluster

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

    async def _describe_all(self) -> tuple[frozenset[str], Survey]:
        names = list(self._names)
        self._stale.clear()
        return frozenset(names), await self._call("describe", self._admin.survey(names))

    async def _call(self, name: str, call: Awaitable[_T]) -> _T:
        try:
            answer = await call
        except LanewayError:
            self._count(name, False)
            raise
        self._count(name, True)
        return answer
