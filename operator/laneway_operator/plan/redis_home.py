"""Where a queue's data is: which Redis, told apart by its address and by an id that the queue's own data holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from laneway.model.manifests import TaskQueue
from laneway.model.servers import RedisServer
from laneway_operator import names
from laneway_operator.keys import Body

_PORT: Final = 6379


@dataclass(frozen=True, slots=True)
class RedisHome:
    """``address`` has neither credentials nor whether there is TLS, since neither moves data. ``id`` is in the queue's
    data there, so that the same data under another address is known again."""

    address: str
    id: str

    def status(self) -> dict[str, Any]:
        """As status.redis."""
        return {"address": self.address, "id": self.id}


def home_of(body: Body) -> RedisHome | None:
    """Where the status of a queue says that its data is; None before there was any."""
    told: Mapping[str, Any] = (body.get("status") or {}).get("redis") or {}
    return RedisHome(told["address"], told["id"]) if told.get("address") and told.get("id") else None


def address_of(server: RedisServer) -> str:
    """HOST:PORT/DATABASE, or the path of a socket."""
    parts = urlsplit(server.url)
    if parts.scheme == "unix":
        return parts.path
    host = (parts.hostname or "localhost").lower()
    return f"{f'[{host}]' if ':' in host else host}:{parts.port or _PORT}/{parts.path.strip('/') or '0'}"


def without_kafka(queue: TaskQueue) -> TaskQueue:
    """The queue as far as its Redis is concerned: what Kafka's Secrets lack plays no part then."""
    return queue.model_copy(update={"spec": queue.spec.model_copy(update={"kafka": None})})


def abandons(body: Body, home: RedisHome) -> bool:
    """Whether an annotation says that the data there shall be left."""
    return bool(body["metadata"].get("annotations", {}).get(names.ABANDON_DATA) == home.address)


def moved_message(home: RedisHome, address: str) -> str:
    """What a condition says while a queue is told to be on another Redis than its data."""
    return (
        f"the queue's data is in Redis at {home.address}, and spec.redis names {address}, which does not hold it:"
        " tasks there would be left behind, so nothing is changed. Set spec.redis back; or, once the queue is empty or"
        f" its tasks may be lost, annotate the TaskQueue with {names.ABANDON_DATA}={home.address}"
    )
