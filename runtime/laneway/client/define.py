"""From a function and its policy to a task definition, checked."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypedDict, TypeVar, overload

from laneway.client.arguments import Arguments, hints_of
from laneway.client.context import Context
from laneway.client.results import Results
from laneway.client.task import AsyncTask, SyncTask, Task
from laneway.errors import ConfigError, InvalidTask
from laneway.model.config import DEFAULT_PRIORITY
from laneway.model.envelope import Backoff
from laneway.model.task import HandlerKind, TaskDef
from laneway.submit.checks import check_backoff, check_shape
from laneway.submit.new_task import NewTask

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from laneway.client.app import App

P = ParamSpec("P")
R = TypeVar("R")


class Policy(TypedDict, total=False):
    """All that ``@app.task`` takes. Times are in seconds, or a timedelta."""

    name: str | None
    """The name in envelopes; the function's name by default. Keep it when you rename the function."""
    lane: str | None
    """The lane; None: the queue's default."""
    priority: int
    """0 to 9 within the lane; 9 goes first, 4 by default."""
    max_attempts: int | None
    """1 to 255, the first included; None: the queue's default."""
    timeout: float | timedelta | None
    """Of one execution; None: unbounded."""
    start_timeout: float | timedelta | None
    """From submission to the first start; then the task expires. None: unbounded."""
    backoff: Backoff | None
    """Between attempts; None: 2 s, 4 s, 8 s ..., less up to a quarter at random."""
    retry_for: Mapping[type[BaseException], Backoff] | None
    """Other backoffs by exception; the first that matches counts."""
    give_up_on: Iterable[type[BaseException]]
    """Exceptions that are failures for good: straight to the dead letters."""
    labels: Mapping[str, str] | None
    """For people and filters; at most 16."""
    description: str | None
    """What it does; the first line of the docstring by default."""
    process: bool
    """Run a plain function in a process of its own, which can be killed at its timeout, instead of in a
    thread."""


class TaskDecorator(Protocol):
    """What ``@app.task(...)`` gives: it turns a function into a task. A Context as first parameter is not an
    argument."""

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self,
        fn: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]],
        /,
    ) -> AsyncTask[P, R]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self,
        fn: Callable[P, Coroutine[Any, Any, R]],
        /,
    ) -> AsyncTask[P, R]: ...
    @overload
    def __call__(self, fn: Callable[Concatenate[Context, P], R], /) -> SyncTask[P, R]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> SyncTask[P, R]: ...


def define_task(app: App, fn: Callable[..., Any], policy: Policy) -> Task[..., Any]:
    """Makes a task of a function.

    Raises:
        ConfigError: the function or its policy can't be a task's; the message says what would be right.
    """
    name = policy.get("name") or _own_name(fn)
    kind = _kind(name, fn, policy.get("process", False))
    hints = hints_of(name, fn)
    arguments = Arguments(name, fn, hints)
    results = Results(name, hints.get("return", Any))
    labels = dict(policy.get("labels") or {})
    template = NewTask(
        type=name,
        lane=policy.get("lane"),
        priority=policy.get("priority", DEFAULT_PRIORITY),
        max_attempts=policy.get("max_attempts"),
        timeout=_seconds(policy.get("timeout")),
        start_timeout=_seconds(policy.get("start_timeout")),
        labels=labels or None,
    )
    backoff = policy.get("backoff")
    retry_for = tuple((policy.get("retry_for") or {}).items())
    give_up_on = tuple(policy.get("give_up_on", ()))
    try:
        check_shape(template)
        for each in (backoff, *(pair[1] for pair in retry_for)):
            if each is not None:
                check_backoff(each)
    except InvalidTask as error:
        raise ConfigError(f"task {name!r}: {error}") from error
    _check_exceptions(name, "retry_for", [pair[0] for pair in retry_for])
    _check_exceptions(name, "give_up_on", give_up_on)
    definition = TaskDef(
        name=name,
        fn=fn,
        kind=kind,
        decode=arguments.decode,
        encode_result=results.encode,
        takes_context=arguments.takes_context,
        lane=template.lane,
        priority=template.priority,
        max_attempts=template.max_attempts,
        timeout=template.timeout,
        start_timeout=template.start_timeout,
        backoff=backoff,
        backoff_for=retry_for,
        give_up_on=give_up_on,
        labels=labels,
        description=policy.get("description") or (inspect.getdoc(fn) or "").partition("\n")[0],
    )
    made = AsyncTask if kind is HandlerKind.ASYNC else SyncTask
    return made(app, definition, template, arguments, results)


def _own_name(fn: Callable[..., Any]) -> str:
    name: str = getattr(fn, "__name__", "")
    if not name or name == "<lambda>":
        raise ConfigError(f"{fn!r} has no name of its own: give one, @app.task(name=...)")
    return name


def _kind(name: str, fn: Callable[..., Any], process: bool) -> HandlerKind:
    if not inspect.isfunction(fn):
        raise ConfigError(f"task {name!r} must be a function (def or async def), not {type(fn).__name__}")
    if inspect.isasyncgenfunction(fn) or inspect.isgeneratorfunction(fn):
        raise ConfigError(f"task {name!r} is a generator, and nobody would iterate it: return a list instead")
    if not inspect.iscoroutinefunction(fn):
        return HandlerKind.PROCESS if process else HandlerKind.THREAD
    if process:
        raise ConfigError(
            f"task {name!r} is async and runs on the event loop: make it a plain function for process=True"
        )
    return HandlerKind.ASYNC


def _seconds(value: float | timedelta | None) -> float:
    if isinstance(value, timedelta):
        return value.total_seconds()
    return 0.0 if value is None else value


def _check_exceptions(name: str, what: str, types: Iterable[object]) -> None:
    for each in types:
        if not (isinstance(each, type) and issubclass(each, BaseException)):
            raise ConfigError(f"task {name!r}: {what} takes exception classes, not {each!r}")
