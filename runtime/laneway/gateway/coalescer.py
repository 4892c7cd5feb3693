"""Puts single submissions that come together into one call to Redis.

Whatever arrived while the last call was under way goes with the next one; when none is, a submission goes at
once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from laneway.errors import LanewayError, OutcomeUnknown, Unavailable
from laneway.kit.ids import id_text
from laneway.kit.metrics import Timer
from laneway.submit import NewTask, Receipt

#: As many as one script call takes.
MOST = 500

SubmitMany = Callable[[Sequence[NewTask]], Awaitable[list[Receipt | LanewayError]]]
_Waiting = tuple[NewTask, "asyncio.Future[Receipt | LanewayError]"]


class Coalescer:
    """Gathers submissions for one queue. ``sizes`` observes how many tasks went with each call; at most
    ``most`` submissions wait."""

    def __init__(self, submit_many: SubmitMany, *, most: int, sizes: Timer) -> None:
        self._submit_many = submit_many
        self._most = most
        self._sizes = sizes
        self._waiting: deque[_Waiting] = deque()
        self._sent: set[asyncio.Future[Receipt | LanewayError]] = set()
        self._sender: asyncio.Task[None] | None = None

    async def submit(self, task: NewTask, within: float) -> Receipt | LanewayError:
        """Submits a task and returns its receipt, or the error that says why it was refused.

        After ``within`` seconds without an answer that error is Unavailable when the task was never sent, and
        else OutcomeUnknown.
        """
        if len(self._waiting) >= self._most:
            return Unavailable(f"{self._most:,} submissions wait for Redis already; nothing was changed", 1.0)
        answer: asyncio.Future[Receipt | LanewayError] = asyncio.get_running_loop().create_future()
        self._waiting.append((task, answer))
        if self._sender is None:
            self._sender = asyncio.create_task(self._send(), name="submit")
        await asyncio.wait({answer}, timeout=within)
        if answer.done():
            return answer.result()
        sent = answer in self._sent
        answer.cancel()  # one that was not sent yet never will be
        if not sent:
            return Unavailable(f"Redis has not answered for {within:g} s; nothing was changed", 1.0)
        name = id_text(task.id) if task.id is not None else ""
        return OutcomeUnknown(f"task {name}: no answer from Redis in {within:g} s", name)

    async def close(self) -> None:
        """Waits until all that was taken is answered."""
        if self._sender is not None:
            await asyncio.wait({self._sender})

    async def _send(self) -> None:
        try:
            while batch := self._take():
                self._sizes.observe(len(batch))
                self._sent = {answer for _, answer in batch}
                try:
                    results = await self._submit_many([task for task, _ in batch])
                except LanewayError as error:
                    results = [error] * len(batch)
                except Exception as error:
                    for _, answer in batch:
                        if not answer.done():
                            answer.set_exception(error)
                    continue
                for (_, answer), result in zip(batch, results, strict=True):
                    if not answer.done():
                        answer.set_result(result)
        finally:
            self._sent = set()
            self._sender = None

    def _take(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        while self._waiting and len(batch) < MOST:
            task, answer = self._waiting.popleft()
            if not answer.done():
                batch.append((task, answer))
        return batch
