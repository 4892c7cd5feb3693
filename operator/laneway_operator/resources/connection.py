"""How the pods of a queue reach its Redis and Kafka: variables, and files mounted from Secrets.

Values that are secret are only ever named here: the kubelet reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from laneway.model.manifests.connections import Kafka, Redis
from laneway.model.manifests.parts import SecretKey
from laneway.model.manifests.taskqueue import TaskQueue

Object = dict[str, Any]

REDIS_FILES: Final = "/etc/laneway/tls/redis"
KAFKA_FILES: Final = "/etc/laneway/tls/kafka"
MECHANISMS: Final = {"Plain": "PLAIN", "ScramSha256": "SCRAM-SHA-256", "ScramSha512": "SCRAM-SHA-512"}


@dataclass(frozen=True, slots=True)
class Connection:
    """Parts of a pod: ``env`` and ``mounts`` of its container, and ``volumes``."""

    env: tuple[Object, ...] = ()
    volumes: tuple[Object, ...] = ()
    mounts: tuple[Object, ...] = ()


def connection(queue: TaskQueue, default_redis: str | SecretKey, *, kafka: bool = True) -> Connection:
    """What pods of ``queue`` need. ``default_redis`` is that of queues that name none; without ``kafka``
    nothing is said of Kafka (workers that take their tasks from Redis never talk to it)."""
    env, files = _redis(queue.spec.redis, default_redis)
    volumes, mounts = _mounted("redis-tls", REDIS_FILES, files)
    if kafka and queue.spec.kafka is not None:
        more, files = _kafka(queue.spec.kafka)
        env += more
        more_volumes, more_mounts = _mounted("kafka-tls", KAFKA_FILES, files)
        volumes += more_volumes
        mounts += more_mounts
    return Connection(tuple(env), tuple(volumes), tuple(mounts))


def variable(name: str, value: str | SecretKey) -> Object:
    """One environment variable: its value, or the Secret's key that holds it."""
    if isinstance(value, str):
        return {"name": name, "value": value}
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": value.name, "key": value.key}}}


def _redis(redis: Redis | None, default: str | SecretKey) -> tuple[list[Object], list[Object]]:
    if redis is None:
        return [variable("LANEWAY_REDIS_URL", default)], []
    url = redis.url if redis.url is not None else redis.secretRef
    assert url is not None  # the model sees to it
    env = [variable("LANEWAY_REDIS_URL", url)]
    if redis.topology == "Cluster":
        env.append(variable("LANEWAY_CLUSTER", "true"))
    if redis.username:
        env.append(variable("LANEWAY_REDIS_USERNAME", redis.username))
    if redis.passwordSecretRef is not None:
        env.append(variable("LANEWAY_REDIS_PASSWORD", redis.passwordSecretRef))
    if redis.tls is None:
        return env, []
    more, files = _tls("LANEWAY_REDIS", REDIS_FILES, redis.tls.caSecretRef, redis.tls.clientCertSecret)
    return env + more, files


def _kafka(kafka: Kafka) -> tuple[list[Object], list[Object]]:
    env = [variable("LANEWAY_KAFKA", ",".join(kafka.bootstrapServers))]
    files: list[Object] = []
    if kafka.tls is not None:
        env.append(variable("LANEWAY_KAFKA_TLS", "true"))
        more, files = _tls("LANEWAY_KAFKA", KAFKA_FILES, kafka.tls.caSecretRef, kafka.tls.clientCertSecret)
        env += more
    if kafka.sasl is not None:
        env.append(variable("LANEWAY_KAFKA_SASL_MECHANISM", MECHANISMS[kafka.sasl.mechanism]))
        env.append(variable("LANEWAY_KAFKA_USERNAME", kafka.sasl.username))
        env.append(variable("LANEWAY_KAFKA_PASSWORD", kafka.sasl.passwordSecretRef))
    return env, files


def _tls(prefix: str, folder: str, ca: SecretKey | None, pair: str | None) -> tuple[list[Object], list[Object]]:
    env: list[Object] = []
    sources: list[Object] = []
    if ca is not None:
        env.append(variable(f"{prefix}_CA_FILE", f"{folder}/ca.crt"))
        sources.append({"secret": {"name": ca.name, "items": [{"key": ca.key, "path": "ca.crt"}]}})
    if pair is not None:
        env.append(variable(f"{prefix}_CERT_FILE", f"{folder}/tls.crt"))
        env.append(variable(f"{prefix}_KEY_FILE", f"{folder}/tls.key"))
        items = [{"key": name, "path": name} for name in ("tls.crt", "tls.key")]
        sources.append({"secret": {"name": pair, "items": items}})
    return env, sources


def _mounted(name: str, folder: str, sources: list[Object]) -> tuple[list[Object], list[Object]]:
    if not sources:
        return [], []
    # 0440 and the pod's fsGroup: readable by the process, by nobody else.
    volume = {"name": name, "projected": {"defaultMode": 0o440, "sources": sources}}
    return [volume], [{"name": name, "mountPath": folder, "readOnly": True}]
