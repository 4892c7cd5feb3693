"""Topics: looked at, made, grown, configured and deleted, for ``laneway up`` and the operator."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    BrokerResponseError,
    KafkaError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.metadata import MetadataRequest

from laneway.adapters.kafka.alter import IncrementalAlterConfigs
from laneway.adapters.kafka.connection import AWAY, NOT_ALLOWED, away, checked, client_options
from laneway.errors import ConfigError, Unavailable
from laneway.model.manifests.connections import Kafka
from laneway.model.servers import KafkaServer
from laneway.model.topics import Topics, TopicSpec
from laneway.policy.topics import topic_specs

#: Where DescribeConfigs says that a value comes from: set on the topic itself.
_OF_THE_TOPIC = 1
#: A manifest's brokers where they play no part.
_PLACEHOLDER = "kafka:9092"


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic as it is. ``replication`` is that of its partition with the fewest copies; ``configs`` has what was set
    on the topic itself, without the brokers' defaults."""

    partitions: int
    replication: int
    configs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Survey:
    """What a cluster says of some topics. ``cluster`` is its id, or its address if it has none; ``topics`` are those
    that exist; ``refused`` says of others why nothing is known of them, such as missing rights."""

    cluster: str
    topics: Mapping[str, TopicState]
    refused: Mapping[str, Exception]


class TopicAdmin:
    """An administrator's client that connects at first use, and again after it broke. Every request ends within
    ``timeout`` seconds. For one event loop."""

    def __init__(self, server: KafkaServer | str, *, timeout: float = 10.0) -> None:
        """Raises ConfigError when a certificate's file is missing or wrong."""
        self.server = checked(server)
        self._timeout = timeout
        self._starting = asyncio.Lock()
        self._client: AIOKafkaAdminClient | None = None

    async def describe(self, names: Sequence[str]) -> dict[str, TopicState]:
        """The topics of these names that exist.

        Raises:
            Unavailable: Kafka can't be reached, or does not allow it for one of them.
        """
        if not names:
            return {}
        survey = await self.survey(names)
        for error in survey.refused.values():
            raise error
        return dict(survey.topics)

    async def survey(self, names: Sequence[str]) -> Survey:
        """Which cluster this is, and each of these topics for itself: one without rights hides no other.

        Raises:
            Unavailable: Kafka can't be reached, or does not allow it at all.
        """
        # A request that names topics would create them where brokers do that by themselves, unless told not to.
        metadata = (
            await self._ask(lambda client: client._send_request(MetadataRequest(list(names), False)))
        ).to_object()
        found: dict[str, tuple[int, int]] = {}
        refused: dict[str, Exception] = {}
        for topic in metadata["topics"]:
            name, code = topic["topic"], topic["error_code"]
            if _is(code, UnknownTopicOrPartitionError):
                continue
            if error := await self._error(code, f"describing topic {name}"):
                refused[name] = error
                continue
            copies = [len(partition["replicas"]) for partition in topic["partitions"]]
            found[name] = (len(copies), min(copies, default=0))
        configs, kept_back = await self._configs(list(found))
        topics = {name: TopicState(*found[name], configs[name]) for name in found if name in configs}
        return Survey(metadata["cluster_id"] or self.server.bootstrap, topics, {**refused, **kept_back})

    async def _configs(self, names: list[str]) -> tuple[dict[str, dict[str, str]], dict[str, Exception]]:
        configs: dict[str, dict[str, str]] = {}
        refused: dict[str, Exception] = {}
        if not names:
            return configs, refused
        wanted = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
        for answer in await self._ask(lambda client: client.describe_configs(wanted)):
            for code, message, _, name, entries in answer.resources:
                if _is(code, UnknownTopicOrPartitionError):
                    continue  # deleted in between
                if error := await self._error(code, f"describing topic {name}", message):
                    refused[name] = error
                    continue
                configs[name] = {entry[0]: entry[1] for entry in entries if entry[3] == _OF_THE_TOPIC}
        return configs, refused

    async def create(self, specs: Sequence[TopicSpec]) -> list[str]:
        """Makes topics; returns the names of those made. One that exists already is left as it is.

        Raises:
            Unavailable: Kafka can't be reached, or refused.
            ConfigError: Kafka takes no such topic, such as with more copies than it has brokers.
        """
        if not specs:
            return []
        topics = [
            # (aiokafka takes the brokers' default for the copies only with a map of assignments, be it empty)
            NewTopic(spec.name, spec.partitions, spec.replication, {} if spec.replication < 0 else None, spec.configs)
            for spec in specs
        ]
        answer = await self._ask(lambda client: client.create_topics(topics, timeout_ms=self._timeout_ms))
        made = []
        for name, code, message in answer.topic_errors:
            if _is(code, TopicAlreadyExistsError):
                continue
            await self._check(code, f"making topic {name}", message)
            made.append(name)
        await self._shown(made, lambda topics: len(topics) == len(made))
        return made

    async def grow(self, name: str, partitions: int) -> None:
        """Raises the number of a topic's partitions. Kafka can't lower it.

        Raises:
            Unavailable: Kafka can't be reached, or does not allow it.
            ConfigError: the topic has as many or more.
        """
        await self._ask(lambda client: client.create_partitions({name: NewPartitions(partitions)}, self._timeout_ms))
        await self._shown([name], lambda topics: name not in topics or topics[name].partitions >= partitions)

    async def configure(self, name: str, configs: Mapping[str, str]) -> None:
        """Sets these of a topic's settings and leaves the others.

        Raises:
            Unavailable: Kafka can't be reached, or does not allow it.
            ConfigError: it knows no such setting or value.
        """
        answer = await self._ask(lambda client: client._send_to_controller(IncrementalAlterConfigs(name, configs)))
        for code, message, _, _ in answer.resources:
            await self._check(code, f"configuring topic {name}", message)
        await self._shown([name], lambda topics: name not in topics or configs.items() <= topics[name].configs.items())

    async def delete(self, names: Sequence[str]) -> None:
        """Deletes topics with all that they hold. One that does not exist is fine.

        Raises:
            Unavailable: Kafka can't be reached, or does not allow it.
        """
        if not names:
            return
        answer = await self._ask(lambda client: client.delete_topics(list(names), self._timeout_ms))
        for name, code in answer.topic_error_codes:
            if not _is(code, UnknownTopicOrPartitionError):
                await self._check(code, f"deleting topic {name}")
        await self._shown(names, lambda topics: not topics)

    async def _shown(self, names: Sequence[str], holds: Callable[[Mapping[str, TopicState]], bool]) -> None:
        """Waits until a change that the controller has made is what brokers show: they learn of it moments later, and
        who looks before would think that it is still to be made.

        Raises:
            Unavailable: they do not show it in time.
        """
        pause, deadline = 0.01, asyncio.get_running_loop().time() + self._timeout
        while not holds(await self.describe(names)):
            if asyncio.get_running_loop().time() > deadline:
                raise Unavailable(f"Kafka has changed {', '.join(names)}, but its brokers do not show it yet", 1.0)
            await asyncio.sleep(pause)
            pause = min(2 * pause, 0.5)

    async def close(self) -> None:
        """Ends the connection; the next call makes another."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    @property
    def _timeout_ms(self) -> int:
        return int(self._timeout * 1000)

    async def _check(self, code: int, doing: str, message: str | None = None) -> None:
        if error := await self._error(code, doing, message):
            raise error

    async def _error(self, code: int, doing: str, message: str | None = None) -> Exception | None:
        return await self._refused(for_code(code)(message or ""), doing) if code else None

    async def _refused(self, error: KafkaError, doing: str = "") -> Exception:
        """Kafka has answered, and the answer was no: a wrong wish is not cured by asking again."""
        if error.retriable:
            await self.close()  # what it knows of the brokers may be old, such as who controls the others
            return await away(self.server, error)
        if isinstance(error, NOT_ALLOWED):
            return await away(self.server, error)
        return ConfigError(f"Kafka at {self.server.bootstrap} refused {doing or 'it'}: {error}")

    async def _ask(self, request: Any) -> Any:
        try:
            client = await self._ready()
            return await asyncio.wait_for(request(client), self._timeout)
        except AWAY as error:
            if isinstance(error, BrokerResponseError):
                raise await self._refused(error) from error
            await self.close()
            raise await away(self.server, error) from error

    async def _ready(self) -> AIOKafkaAdminClient:
        async with self._starting:
            if self._client is None:
                client = AIOKafkaAdminClient(**client_options(self.server), request_timeout_ms=self._timeout_ms)
                try:
                    await asyncio.wait_for(client.start(), self._timeout)
                except BaseException:
                    await client.close()
                    raise
                self._client = client
            return self._client


def _is(code: int, kind: type[KafkaError]) -> bool:
    return bool(code == kind.errno)


async def ensure_topics(
    server: KafkaServer | str, topics: Topics, *, partitions: int | None = None, kafka: Kafka | None = None
) -> None:
    """Creates a queue's topics where they are missing, and grows that of tasks; never shrinks, and leaves settings.

    ``kafka`` is the manifest's; ``partitions`` is used in place of its number.

    Raises:
        Unavailable: Kafka can't be reached, or refused.
        ConfigError: it takes no such topic.
    """
    kafka = kafka or Kafka(bootstrapServers=[_PLACEHOLDER])
    specs = [
        replace(spec, partitions=partitions) if partitions and spec.name == topics.tasks else spec
        for spec in topic_specs(topics, kafka)
    ]
    admin = TopicAdmin(server)
    try:
        known = await admin.describe([spec.name for spec in specs])
        await admin.create([spec for spec in specs if spec.name not in known])
        for spec in specs:
            if spec.name in known and known[spec.name].partitions < spec.partitions:
                await admin.grow(spec.name, spec.partitions)
    finally:
        await admin.close()
