"""The queue as other event loops see it: app.sync has a loop of its own, and so may a handler in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, cast

from laneway.ports.store import TaskStore


class _Elsewhere:
    """Makes each call on the queue's own loop, since a MemoryStore belongs to one thread."""

    def __init__(self, store: Any, home: asyncio.AbstractEventLoop) -> None:
        self._store = store
        self._home = home

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        method = getattr(self._store, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(method(*args, **kwargs), self._home))

        return call

    @property
    def notes(self) -> _Elsewhere:
        """The notes of the queue, likewise."""
        return _Elsewhere(self._store.notes, self._home)

    async def close(self) -> None:
        """Nothing to close."""


def from_elsewhere(store: TaskStore, home: asyncio.AbstractEventLoop) -> TaskStore:
    """``store``, which belongs to the loop ``home``, for use on another loop."""
    return cast(TaskStore, _Elsewhere(store, home))
