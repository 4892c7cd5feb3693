"""Stores by the options that every role takes."""

from __future__ import annotations

from laneway.adapters.redis import RedisStore
from laneway.model.servers import NO_KAFKA, KafkaServer, RedisServer


def make_store(
    redis: RedisServer | str, queue: str, namespace: str, *, cluster: bool = False, patience: float = 5.0
) -> RedisStore:
    """One queue's store. Each event loop and thread needs its own.

    Raises:
        ConfigError: what the server was given with is wrong, such as a certificate's file.
    """
    return RedisStore(redis, queue, namespace=namespace, cluster=cluster, patience=patience)


def server_env(redis: RedisServer | str, kafka: KafkaServer | str | None) -> dict[str, str]:
    """The environment that tells a child process where Redis and Kafka are. (Its command line would tell everybody on
    this machine, passwords included.)"""
    return RedisServer.of(redis).to_env() | (KafkaServer.of(kafka).to_env() if kafka else NO_KAFKA)
