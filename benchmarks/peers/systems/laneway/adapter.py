"""Laneway: async handlers, the SDK's ``submit`` and ``submit_many``, everything else at its default."""

import asyncio
import os

import handlers
from producer import PAD, serve

from laneway import App
from laneway.errors import LanewayError

app = App("peer", redis=os.environ["PEER_REDIS"], queue=os.environ["PEER_QUEUE"])
TASKS = {kind: app.task(getattr(handlers, kind)) for kind in ("noop", "nap", "hold")}
_URGENT = os.environ["PEER_PLAN"] == "urgent"


class Laneway:
    """``to`` is a lane in the plan urgent, else a tenant."""

    def __init__(self) -> None:
        self._ways: dict[tuple[str, str], object] = {}

    def _way(self, kind: str, to: str):
        way = self._ways.get((kind, to))
        if way is None:
            where = {"lane": to} if _URGENT else {} if to == "normal" else {"tenant": to}
            way = self._ways[kind, to] = TASKS[kind].options(**where)
        return way

    async def open(self) -> None:
        await app.connect()

    async def one(self, kind: str, n: int, to: str) -> None:
        await self._way(kind, to).submit(n=n, pad=PAD)

    async def bulk(self, kind: str, tasks: list[tuple[int, str]]) -> None:
        chunks = iter([tasks[i : i + 1_000] for i in range(0, len(tasks), 1_000)])

        async def some() -> None:
            for chunk in chunks:
                calls = [self._way(kind, to).call(n=n, pad=PAD) for n, to in chunk]
                for answer in await app.submit_many(calls):
                    if isinstance(answer, LanewayError):
                        raise answer

        await asyncio.gather(some(), some())  # while Redis takes one part, the next is made


if __name__ == "__main__":
    serve(Laneway())
