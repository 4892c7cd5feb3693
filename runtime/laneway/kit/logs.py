"""Structured logs over the standard library: JSON lines for machines, a readable console for people.

Laneway's loggers do not depend on structlog's global configuration, so that importing Laneway changes nothing
of how an application logs. A process of Laneway's own calls :func:`setup_logging` once; from then on its own
lines and those of every other library have the same form, and each carries the task, attempt and trace id it
was written for.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import Any, NamedTuple, Protocol, TextIO

import structlog

LEVELS = ("debug", "info", "warning", "error", "critical")
FORMATS = ("json", "console")

#: So many different lines of libraries are remembered to tell repetitions.
_THROTTLED = 500

Event = MutableMapping[str, Any]


class Kept(dict[str, Any]):
    """The fields of a line that the log of its task has already: whoever keeps lines of tasks passes it over."""


def printed(value: object) -> str:
    """The value's text. A value whose own code for that raises is shown as such: logging fails nobody."""
    try:
        return str(value)
    except Exception:
        return unprintable(value)


def unprintable(value: object) -> str:
    """What stands for a value that has no text."""
    return f"<unprintable {type(value).__name__}>"


class TaskScope(NamedTuple):
    """What the lines logged now are about: a task (text id), its attempt (from 1) and its W3C trace id."""

    task: str
    attempt: int = 0
    trace: str | None = None


class Scope(Protocol):
    """Anything with these three; the executor's own record of an attempt is one, so that marking lines costs
    it nothing until a line is written."""

    @property
    def task(self) -> str: ...
    @property
    def attempt(self) -> int: ...
    @property
    def trace(self) -> str | None: ...


_scope: ContextVar[Scope | None] = ContextVar("laneway_task_scope", default=None)

#: As :func:`enter_task`, with an object that works out its text only when a line is written.
set_scope = _scope.set


def enter_task(task: str, attempt: int, traceparent: str | None = None) -> Token[Scope | None]:
    """Marks what is logged from here on, in this context, as belonging to a task. Undo with
    :func:`leave_task`.

    ``traceparent`` is the W3C header; its trace id is what logs show.
    """
    trace = traceparent.split("-")[1] if traceparent and traceparent.count("-") >= 3 else None
    return _scope.set(TaskScope(task, attempt, trace))


def leave_task(token: Token[Scope | None]) -> None:
    """Ends what :func:`enter_task` began."""
    _scope.reset(token)


@contextmanager
def task_scope(task: str, attempt: int, traceparent: str | None = None) -> Iterator[None]:
    """:func:`enter_task` and :func:`leave_task` around a block."""
    token = enter_task(task, attempt, traceparent)
    try:
        yield
    finally:
        leave_task(token)


def current_scope() -> Scope | None:
    """The task that this context works for, or None."""
    return _scope.get()


def _add_scope(logger: Any, method: str, event: Event) -> Event:
    scope = _scope.get()
    if scope is not None:
        event.setdefault("task", scope.task)
        if scope.attempt:
            event.setdefault("attempt", scope.attempt)
        if scope.trace:
            event.setdefault("trace", scope.trace)
    return event


def _to_stdlib(logger: Any, method: str, event: Event) -> tuple[tuple[str], dict[str, Any]]:
    """Hands an event to the standard logger: whole for our formatter, and as one readable line for any
    other."""
    text = str(event.get("event", ""))
    stdlib = {name: event.pop(name) for name in ("exc_info", "stack_info", "stacklevel") if name in event}
    plain = " ".join([text, *(f"{key}={value}" for key, value in event.items() if key != "event")])
    return (plain,), {"extra": {"laneway": dict(event)}, **stdlib}


_PROCESSORS: list[Any] = [
    structlog.stdlib.filter_by_level,
    structlog.stdlib.PositionalArgumentsFormatter(),
    _to_stdlib,
]


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger for events with fields: ``log.info("worker registered", worker=name)``."""
    return structlog.wrap_logger(  # type: ignore[no-any-return]
        logging.getLogger(name),
        wrapper_class=structlog.stdlib.BoundLogger,
        processors=_PROCESSORS,
        context_class=dict,
        cache_logger_on_first_use=True,
    )


def _unfold(logger: Any, method: str, event: Event) -> Event:
    """Puts the fields of one of our own events in place of the line made for other formatters."""
    fields = event.pop("laneway", None)
    if isinstance(fields, dict):
        event.update(fields)
    return event


def _dumps(event: Event, **_: Any) -> str:
    # A line must come out whatever was logged: keys that JSON can't have become text as well.
    try:
        return json.dumps(event, default=repr)
    except (TypeError, ValueError):
        return json.dumps({str(key): _as_json(value) for key, value in event.items()})


def _as_json(value: Any) -> Any:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return repr(value)
    return value


def formatter(format: str, *, colors: bool = False) -> logging.Formatter:
    """The formatter for ``json`` or ``console``."""
    shared: list[Any] = [
        structlog.stdlib.ExtraAdder(),
        _unfold,
        _add_scope,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
    ]
    if format == "json":
        last: list[Any] = [
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=_dumps),
        ]
    else:
        last = [
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.dev.ConsoleRenderer(
                colors=colors, timestamp_key="at", exception_formatter=structlog.dev.plain_traceback
            ),
        ]
    return structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=last)


class _Throttle(logging.Filter):
    """Lets a library say one thing once in a while: while Kafka is away, aiokafka says the same dozens of times a
    second. The next line that passes tells how many were left out."""

    def __init__(self, libraries: tuple[str, ...], seconds: float = 10.0) -> None:
        super().__init__()
        self._libraries = libraries
        self._seconds = seconds
        self._said: dict[tuple[str, object], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.partition(".")[0] not in self._libraries:
            return True
        key = (record.name, record.msg)
        at, left_out = self._said.get(key, (float("-inf"), 0))
        if record.created - at < self._seconds:
            self._said[key] = (at, left_out + 1)
            return False
        if len(self._said) >= _THROTTLED:
            self._said.clear()
        self._said[key] = (record.created, 0)
        if left_out:
            record.msg = f"{record.msg} ({left_out} more like it were left out)"
        return True


class _Output(logging.StreamHandler[TextIO]):
    """Where :func:`setup_logging` sends everything; it knows the ``settings`` (level and format)."""

    settings = ("info", "console")


def settings_in_force() -> tuple[str, str] | None:
    """The level and format that :func:`setup_logging` was called with last in this process; None when it was not."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, _Output):
            return handler.settings
    return None


def setup_logging(level: str = "info", format: str = "console", stream: TextIO | None = None) -> None:
    """Sends all logs of this process to ``stream`` (standard error), from ``level`` up, as ``json`` or
    ``console``.

    It replaces the root logger's handlers, so calling it again changes the settings. Loggers of
    ``structlog.get_logger`` go the same way, also those made before.

    Raises:
        ValueError: an unknown level or format; the message names those there are.
    """
    if level not in LEVELS:
        raise ValueError(f"log level must be one of {', '.join(LEVELS)}, not {level!r}")
    if format not in FORMATS:
        raise ValueError(f"log format must be one of {', '.join(FORMATS)}, not {format!r}")
    stream = stream or sys.stderr
    handler = _Output(stream)
    handler.settings = (level, format)
    handler.setFormatter(formatter(format, colors=stream.isatty()))
    handler.addFilter(_Throttle(("aiokafka", "kubernetes", "asyncio")))
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    structlog.configure(
        processors=_PROCESSORS,
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    # Libraries that tell each step: what matters of it, Laneway says itself.
    for noisy in ("aiokafka", "httpx", "httpcore", "uvicorn", "kubernetes", "asyncio"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, getattr(logging, level.upper())))
