"""taskiq on Redis streams, which acknowledge: async client and handlers."""

import os

import handlers
from producer import PAD, gathered, serve
from taskiq_redis import RedisStreamBroker

RECOVERY = os.environ["PEER_PLAN"] == "recovery"

broker = RedisStreamBroker(
    os.environ["PEER_REDIS"],
    consumer_id="0",
    # Unacknowledged tasks go to another worker after that many ms without one; looked for between two fetches.
    idle_timeout=10_000 if RECOVERY else 600_000,
    unacknowledged_lock_timeout=10,
)
TASKS = {kind: broker.task(task_name=kind)(getattr(handlers, kind)) for kind in ("noop", "nap", "hold")}


class TaskiqProducer:
    """There is one queue to a worker, and no bulk call."""

    async def open(self) -> None:
        await broker.startup()

    async def one(self, kind: str, n: int, to: str) -> None:
        await TASKS[kind].kiq(n, PAD)

    async def bulk(self, kind: str, tasks: list[tuple[int, str]]) -> None:
        await gathered(self, kind, tasks)


if __name__ == "__main__":
    serve(TaskiqProducer())
