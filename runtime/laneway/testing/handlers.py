"""The handlers that a TestQueue runs: the App's, in this process, and what stands in for some of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import msgspec

from laneway.client import App
from laneway.errors import ConfigError
from laneway.model.task import HandlerKind, TaskDef

Stub = Callable[..., Any]


class Handlers(dict[str, TaskDef]):
    """Task definitions by name. ``processes``: whether process handlers get their processes."""

    def __init__(self, app: App, stubs: Mapping[str, Stub], processes: bool) -> None:
        super().__init__()
        for name, stub in stubs.items():
            if not callable(stub):
                raise ConfigError(
                    f"the stub for {name!r} is called with the task's arguments by name, and {stub!r} can't be: "
                    "give a function, such as lambda **arguments: None"
                )
        self._app = app
        self._stubs = dict(stubs)
        self._processes = processes
        self.refresh()

    def refresh(self) -> None:
        """Takes up tasks that were defined since."""
        known = self._app.tasks
        for name in known.keys() | self._stubs.keys():
            if name not in self:
                self[name] = self._made(name, known.get(name))

    def _made(self, name: str, task: TaskDef | None) -> TaskDef:
        stub = self._stubs.get(name)
        if stub is None:
            assert task is not None
            if task.kind is HandlerKind.PROCESS and not self._processes:
                return replace(task, kind=HandlerKind.THREAD)
            return task
        if task is None:
            return TaskDef(name, _awaitable(stub), HandlerKind.ASYNC, msgspec.msgpack.decode, msgspec.msgpack.encode)
        return replace(task, fn=_awaitable(stub), kind=HandlerKind.ASYNC, takes_context=None)


def _awaitable(stub: Stub) -> Callable[..., Any]:
    async def call(**arguments: Any) -> Any:
        result = stub(**arguments)
        return await result if inspect.isawaitable(result) else result

    return call
