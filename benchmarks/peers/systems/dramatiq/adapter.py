"""dramatiq on Redis. Its client and its handlers block."""

import os

import dramatiq
import handlers
from dramatiq.brokers.redis import RedisBroker
from producer import PAD, serve

TENANTS = [f"tenant-{i}" for i in range(10)]
PLAN = os.environ["PEER_PLAN"]

broker = RedisBroker(url=os.environ["PEER_REDIS"])
dramatiq.set_broker(broker)


def _actor(kind: str, queue: str, priority: int) -> dramatiq.Actor:
    return dramatiq.actor(
        getattr(handlers, f"{kind}_blocking"),
        actor_name=f"{kind}-{queue}", queue_name=queue, priority=priority, broker=broker,
    )  # fmt: skip


# Lower numbers go first; priority belongs to an actor, and so does its queue.
ACTORS = {(kind, "normal"): _actor(kind, "normal", 10) for kind in ("noop", "nap", "hold")}
if PLAN == "urgent":
    ACTORS["nap", "urgent"] = _actor("nap", "urgent", 0)
if PLAN == "flood":
    ACTORS.update({("nap", tenant): _actor("nap", tenant, 10) for tenant in TENANTS})


class DramatiqProducer:
    """``to`` is a queue with an actor of its own. There is no bulk call for Redis."""

    async def open(self) -> None:
        broker.client.ping()

    async def one(self, kind: str, n: int, to: str) -> None:
        ACTORS[kind, to].send(n, PAD)

    async def bulk(self, kind: str, tasks: list[tuple[int, str]]) -> None:
        for n, to in tasks:
            ACTORS[kind, to].send(n, PAD)


if __name__ == "__main__":
    serve(DramatiqProducer())
