"""Waiting for a task's end: one subscription to the ends of a queue for all who wait here, and a look now and then in
case an end went by unheard."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from laneway.errors import LanewayError
from laneway.gateway.server import Ending
from laneway.kit.logs import get_logger
from laneway.ports.store import TaskStore, TaskView

_log = get_logger(__name__)

_AGAIN_S = 0.5
#: Seconds between two looks: short at first, while the subscription is perhaps not in force yet.
_FIRST_LOOK, _LONGEST_LOOK = 0.1, 2.0


class EndsWatch:
    """Who waits for which tasks of one queue. Nothing runs while nobody waits."""

    def __init__(self, store: TaskStore) -> None:
        self._store = store
        self._bells: dict[bytes, set[asyncio.Event]] = {}
        self._feed: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(len(bells) for bells in self._bells.values())

    async def wait(
        self,
        id: bytes,
        timeout: float,
        look: Callable[[], Awaitable[TaskView | None]],
        given_up: Callable[[], Awaitable[bool]],
        ending: Ending | None = None,
    ) -> TaskView | None:
        """The task as ``look`` shows it last: ended, or not in ``timeout`` seconds, or when ``ending`` began or
        ``given_up`` says that nobody waits any more. None: there is no such task."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        bell = asyncio.Event()
        self._bells.setdefault(id, set()).add(bell)
        self._feed = self._feed or asyncio.create_task(self._follow(), name="laneway-ends")
        if ending is not None:
            ending.bells.add(bell.set)
        pause = _FIRST_LOOK
        try:
            while True:
                view = await look()
                left = deadline - loop.time()
                if view is None or view.state.final or left <= 0:
                    return view
                if (ending is not None and ending.now) or await given_up():
                    return view
                bell.clear()
                try:
                    async with asyncio.timeout(min(left, pause)):
                        await bell.wait()
                except TimeoutError:
                    pause = min(pause * 2, _LONGEST_LOOK)
        finally:
            if ending is not None:
                ending.bells.discard(bell.set)
            self._leave(id, bell)

    def _leave(self, id: bytes, bell: asyncio.Event) -> None:
        bells = self._bells.get(id, set())
        bells.discard(bell)
        if not bells:
            self._bells.pop(id, None)
        if not self._bells and self._feed is not None:
            self._feed.cancel()
            self._feed = None

    async def _follow(self) -> None:
        while True:
            try:
                async for id, _ in self._store.done_feed():
                    for bell in self._bells.get(id, ()):
                        bell.set()
            except (LanewayError, OSError) as error:
                # Whoever waits looks by himself meanwhile, and is told that Redis is away.
                _log.info("the ends of tasks can't be followed", error=str(error))
            await asyncio.sleep(_AGAIN_S)
