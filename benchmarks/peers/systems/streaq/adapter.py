"""streaQ: async client and handlers."""

import os

import handlers
from producer import PAD, serve
from streaq import Worker

PLAN = os.environ["PEER_PLAN"]

worker = Worker(
    redis_url=os.environ["PEER_REDIS"],
    concurrency=int(os.environ.get("PEER_SLOTS", "16")),
    priorities=["normal", "urgent"] if PLAN == "urgent" else None,  # the last goes first
    prefetch=1 if PLAN in ("urgent", "flood", "recovery") else None,
    idle_timeout=5 if PLAN == "recovery" else 60,
    anyio_kwargs={"use_uvloop": True},
)
TASKS = {kind: worker.task(name=kind, ttl=0, silent=True)(getattr(handlers, kind)) for kind in ("noop", "nap", "hold")}


class StreaqProducer:
    """``to`` is a priority in the plan urgent; there is one queue to a worker."""

    async def open(self) -> None:
        self._entered = await worker.__aenter__()

    def _task(self, kind: str, n: int, to: str):
        task = TASKS[kind].enqueue(n, PAD)
        return task.start(priority=to) if PLAN == "urgent" else task

    async def one(self, kind: str, n: int, to: str) -> None:
        await self._task(kind, n, to)

    async def bulk(self, kind: str, tasks: list[tuple[int, str]]) -> None:
        for i in range(0, len(tasks), 1_000):
            await worker.enqueue_many([self._task(kind, n, to) for n, to in tasks[i : i + 1_000]])


if __name__ == "__main__":
    serve(StreaqProducer())
