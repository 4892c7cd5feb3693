"""Hooks around submitting and executing: one concern to a middleware."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from laneway.client.context import Context
from laneway.model.context import ContextData
from laneway.model.outcomes import Outcome
from laneway.submit.new_task import NewTask

Next = Callable[[], Awaitable[Any]]


class Middleware:
    """Base of middlewares; override what you need. The first in ``App(middleware=...)`` is the outermost."""

    def before_submit(self, task: NewTask) -> NewTask:
        """Sees each task before it is checked and sent; returns it, or another in its place. Raise a
        LanewayError to refuse it."""
        return task

    async def around_execute(self, context: Context, call_next: Next) -> Any:
        """Runs around one attempt. ``await call_next()`` runs the handler and gives its result; return that,
        or another. What the handler raises comes through here; an exception raised here counts as the
        handler's."""
        return await call_next()

    async def after_outcome(self, context: Context, result: Any, error: BaseException | None) -> None:
        """Hears how an attempt ended, after all of ``around_execute``: with a ``result``, or by ``error``
        (which may be an Outcome such as Retry, also when the handler returned it). Whether that is settled is
        not known yet: a lost lease may undo it."""


class MiddlewareChain:
    """All of an App's middlewares as the one that a worker's executor calls."""

    def __init__(self, middleware: Sequence[Middleware], make_context: Callable[[ContextData], Context]) -> None:
        self._around = [each.around_execute for each in middleware if _overrides(each, "around_execute")]
        self._after = [each.after_outcome for each in reversed(middleware) if _overrides(each, "after_outcome")]
        self._make_context = make_context

    def __bool__(self) -> bool:
        """Whether there is anything to do."""
        return bool(self._around or self._after)

    async def around_execute(self, context: ContextData, call_next: Next) -> Any:
        """Runs one attempt inside all middlewares."""
        own = self._make_context(context)
        run = call_next
        for around in reversed(self._around):
            run = _inside(around, own, run)
        try:
            result = await run()
        except BaseException as error:
            await self._tell(own, None, error)
            raise
        if isinstance(result, Outcome):
            await self._tell(own, None, result)
        else:
            await self._tell(own, result, None)
        return result

    async def _tell(self, context: Context, result: Any, error: BaseException | None) -> None:
        for after in self._after:
            await after(context, result, error)


def _inside(around: Callable[[Context, Next], Awaitable[Any]], context: Context, inner: Next) -> Next:
    return lambda: around(context, inner)


def _overrides(middleware: Middleware, method: str) -> bool:
    return getattr(type(middleware), method) is not getattr(Middleware, method)
