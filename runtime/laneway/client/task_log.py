"""A task's own log, as its handler writes it."""

from __future__ import annotations

import logging
import traceback
from typing import Any

from laneway.kit.ids import id_text
from laneway.kit.logs import Kept, printed, unprintable
from laneway.model.context import ContextData

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
_TRACEBACK = 2000


class TaskLog:
    """Lines that are kept with the task, whatever the worker's log level is, and go to the worker's log too if that
    takes them: ``log.info("read", rows=10)``. Fields stand behind the message, as name=value."""

    __slots__ = ("_data",)

    def __init__(self, data: ContextData) -> None:
        self._data = data

    def debug(self, message: str, **fields: Any) -> None:
        """A line for those who look for a fault."""
        self._write("debug", message, fields)

    def info(self, message: str, **fields: Any) -> None:
        """A line."""
        self._write("info", message, fields)

    def warning(self, message: str, **fields: Any) -> None:
        """A line that somebody should see."""
        self._write("warning", message, fields)

    def error(self, message: str, **fields: Any) -> None:
        """A line of something that failed."""
        self._write("error", message, fields)

    def critical(self, message: str, **fields: Any) -> None:
        """A line of something that must not happen."""
        self._write("critical", message, fields)

    def exception(self, message: str, **fields: Any) -> None:
        """As :meth:`error`, with the traceback of the exception that is being handled."""
        self._write("error", message, fields, exc_info=True)

    def _write(self, level: str, message: str, fields: dict[str, Any], *, exc_info: bool = False) -> None:
        data = self._data
        said = printed(message)
        text = " ".join([said, *(f"{name}={printed(value)}" for name, value in fields.items())])
        if data.notes is not None:
            whole = f"{text}\n{traceback.format_exc()[-_TRACEBACK:]}" if exc_info else text
            data.notes.line(level, whole)
        logger = logging.getLogger(f"laneway.task.{data.type}")
        number = _LEVELS[level]
        if logger.isEnabledFor(number):
            # (a field may have a text and still no form for the worker's log, which shows some by their repr)
            shown = {name: value if _has_repr(value) else unprintable(value) for name, value in fields.items()}
            event = Kept({"event": said, "task": id_text(data.id), "attempt": data.attempt, **shown})
            logger.log(number, "%s", text, exc_info=exc_info, extra={"laneway": event})


def _has_repr(value: object) -> bool:
    try:
        repr(value)
    except Exception:
        return False
    return True
