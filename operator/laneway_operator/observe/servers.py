"""The servers of a queue, with the credentials that its Secrets hold now."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from laneway.adapters.tls import check_files
from laneway.errors import ConfigError
from laneway.model.manifests import TaskQueue, WorkerPool
from laneway.model.manifests.connections import Kafka, Redis
from laneway.model.manifests.parts import SecretKey, Tls
from laneway.model.servers import KafkaServer, RedisServer
from laneway_operator.observe.files import PrivateFiles
from laneway_operator.observe.secrets import Secrets, digest
from laneway_operator.resources.connection import MECHANISMS
from laneway_operator.settings import OperatorSettings

Value = tuple[str, str]
_CERT, _KEY = "tls.crt", "tls.key"
_MOST_CHECKED: Final = 1_000


class SecretInvalid(Exception):
    """What a Secret holds can't be used; the message says which and what it should be."""


@dataclass(frozen=True, slots=True)
class Servers:
    """``hash`` changes when any value does that came from a Secret."""

    redis: RedisServer
    kafka: KafkaServer | None
    hash: str


def default_redis(settings: OperatorSettings) -> str | SecretKey | None:
    """The Redis of queues that name none: its URL, or the Secret in the queue's namespace that has it."""
    if settings.redis_secret is not None:
        return SecretKey(name=settings.redis_secret.name, key=settings.redis_secret.key)
    return settings.redis_url or None


class ServerReader:
    """Finds the servers of queues."""

    def __init__(self, secrets: Secrets, files: PrivateFiles, settings: OperatorSettings) -> None:
        self._secrets = secrets
        self._files = files
        self._default = default_redis(settings)
        self._good: set[tuple[str, str, str]] = set()

    async def of_queue(self, queue: TaskQueue) -> Servers:
        """The queue's servers.

        Raises:
            ConfigError: the queue names no Redis, and the installation has none for it.
            SecretInvalid: what a Secret holds makes no server.
            SecretNotFound, SecretForbidden, ClusterError: as :class:`Secrets`.
        """
        redis, kafka = queue.spec.redis, queue.spec.kafka
        wanted = [*_redis_values(redis, self._default), *(_kafka_values(kafka) if kafka else ())]
        values = await self._secrets.values(queue.metadata.namespace, dict.fromkeys(wanted))
        try:
            return Servers(
                await self._redis(redis, values), await self._kafka(kafka, values) if kafka else None, digest(values)
            )
        except SecretInvalid:
            self._secrets.forget(queue.metadata.namespace, wanted)
            raise
        except ConfigError as error:
            if not wanted:
                raise
            self._secrets.forget(queue.metadata.namespace, wanted)
            named = ", ".join(dict.fromkeys(f"{name}/{key}" for name, key in wanted))
            raise SecretInvalid(f"{error} (what the Secrets hold: {named})") from None

    async def of_pool(self, queue: TaskQueue, pool: WorkerPool) -> str:
        """The hash of all values from Secrets that the pods of a pool have. Raises as :meth:`of_queue`."""
        spec = pool.spec
        redis, kafka = queue.spec.redis, queue.spec.kafka
        wanted = [*_redis_values(redis, self._default), *(_kafka_values(kafka) if kafka else ())]
        wanted += [(var.secretRef.name, var.secretRef.key) for var in spec.env if var.secretRef is not None]
        wanted += [(source.secretRef.name, "") for source in spec.envFrom if source.secretRef is not None]
        return digest(await self._secrets.values(queue.metadata.namespace, dict.fromkeys(wanted)))

    async def _redis(self, redis: Redis | None, values: dict[Value, bytes]) -> RedisServer:
        if redis is None:
            default = self._default
            assert default is not None  # else _redis_values has raised
            url = default if isinstance(default, str) else _text(values, default)
            _refuse_socket(url)
            return RedisServer(url)
        url = redis.url if redis.url is not None else _text(values, redis.secretRef)
        _refuse_socket(url)
        ca, cert, key = await self._tls(redis.tls, values)
        return RedisServer(
            url,
            username=redis.username or "",
            password=_text(values, redis.passwordSecretRef),
            ca_file=ca,
            cert_file=cert,
            key_file=key,
            cluster=redis.topology == "Cluster",
        )

    async def _kafka(self, kafka: Kafka, values: dict[Value, bytes]) -> KafkaServer:
        ca, cert, key = await self._tls(kafka.tls, values)
        sasl = kafka.sasl
        return KafkaServer(
            ",".join(kafka.bootstrapServers),
            tls=kafka.tls is not None,
            ca_file=ca,
            cert_file=cert,
            key_file=key,
            mechanism=MECHANISMS[sasl.mechanism] if sasl else "",
            username=sasl.username if sasl else "",
            password=_text(values, sasl.passwordSecretRef) if sasl else "",
        )

    async def _tls(self, tls: Tls | None, values: dict[Value, bytes]) -> tuple[str, str, str]:
        if tls is None:
            return "", "", ""
        ca, pair = tls.caSecretRef, tls.clientCertSecret
        path = self._files.path
        files = (
            await path(values[ca.name, ca.key]) if ca else "",
            await path(values[pair, _CERT]) if pair else "",
            await path(values[pair, _KEY]) if pair else "",
        )
        if files not in self._good:
            if len(self._good) >= _MOST_CHECKED:
                self._good.clear()  # to check them again costs little
            await self._check(files, f"{ca.name}/{ca.key}" if ca else "", pair or "")
            self._good.add(files)
        return files

    async def _check(self, files: tuple[str, str, str], ca: str, pair: str) -> None:
        """Raises SecretInvalid naming the Secret rather than the file."""
        try:
            await asyncio.to_thread(check_files, "LANEWAY", *files)
        except ConfigError as error:
            text = str(error)
            for file, name in zip(files, (ca, f"{pair}/{_CERT}", f"{pair}/{_KEY}"), strict=True):
                text = text.replace(file, f"Secret {name}") if file else text
            raise SecretInvalid(text.partition(": ")[2]) from None


def _redis_values(redis: Redis | None, default: str | SecretKey | None) -> list[Value]:
    if redis is None:
        if default is None:
            raise ConfigError(
                "spec.redis is missing, and this installation of the operator names no Redis for such queues: add"
                " spec.redis with url or secretRef"
            )
        return [(default.name, default.key)] if isinstance(default, SecretKey) else []
    refs = (redis.secretRef, redis.passwordSecretRef)
    return [(ref.name, ref.key) for ref in refs if ref is not None] + _tls_values(redis.tls)


def _kafka_values(kafka: Kafka) -> list[Value]:
    password = [(kafka.sasl.passwordSecretRef.name, kafka.sasl.passwordSecretRef.key)] if kafka.sasl else []
    return password + _tls_values(kafka.tls)


def _tls_values(tls: Tls | None) -> list[Value]:
    if tls is None:
        return []
    ca = [(tls.caSecretRef.name, tls.caSecretRef.key)] if tls.caSecretRef else []
    pair = [(tls.clientCertSecret, _CERT), (tls.clientCertSecret, _KEY)] if tls.clientCertSecret else []
    return ca + pair


def _refuse_socket(url: str) -> None:
    """Pods, and the operator's own, are on other machines than any socket."""
    if url.startswith("unix:"):
        raise ConfigError("the URL of Redis names a socket of one machine: in a cluster it must name HOST:PORT")


def _text(values: dict[Value, bytes], ref: SecretKey | None) -> str:
    """Raises SecretInvalid, which tells nothing of the value."""
    try:
        return values[ref.name, ref.key].decode() if ref is not None else ""
    except UnicodeDecodeError:
        assert ref is not None
        raise SecretInvalid(f"key {ref.key} of Secret {ref.name} must be text (UTF-8), and is not") from None
