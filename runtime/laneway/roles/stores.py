"""Stores by the options that every role takes."""

from __future__ import annotations

from laneway.adapters.redis import RedisStore


def make_store(redis: str, queue: str, namespace: str, *, cluster: bool = False, patience: float = 5.0) -> RedisStore:
    """One queue's store. Each event loop and thread needs its own."""
    return RedisStore(redis, queue, namespace=namespace, cluster=cluster, patience=patience)
