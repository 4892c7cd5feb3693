"""Log lines of the standard library that belong to a task, by the context that they are written in."""

from __future__ import annotations

import logging
from collections.abc import Callable

from laneway.kit.logs import Kept, Scope, current_scope, printed

_OWN, _OF_TASKS = "laneway.", "laneway.task."
#: Characters of a traceback that are kept with its line: its end says what was wrong.
_TRACEBACK = 2000
_format = logging.Formatter().formatException


class TaskLogHandler(logging.Handler):
    """Hands each line that a handler's context logs to ``keep(scope, level, message)``. What Laneway itself says of an
    attempt is no line of the task, and what came through ``ctx.log`` is kept already."""

    def __init__(self, keep: Callable[[Scope, str, str], None]) -> None:
        super().__init__()
        self._keep = keep
        self._added: logging.Handler | None = None

    def attach(self) -> None:
        """Begins to listen to all loggers. Where nobody listened yet, warnings go on to standard error as before."""
        root = logging.getLogger()
        if not root.handlers and logging.lastResort is not None:
            root.addHandler(logging.lastResort)
            self._added = logging.lastResort
        root.addHandler(self)

    def detach(self) -> None:
        """Listens no more."""
        root = logging.getLogger()
        root.removeHandler(self)
        if self._added is not None:
            root.removeHandler(self._added)
            self._added = None

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps a line, if it is a task's."""
        scope = current_scope()
        if scope is None or type(getattr(record, "laneway", None)) is Kept:
            return
        if record.name.startswith(_OWN) and not record.name.startswith(_OF_TASKS):
            return
        try:
            self._keep(scope, record.levelname.lower(), line_of(record))
        except Exception:
            self.handleError(record)


def line_of(record: logging.LogRecord) -> str:
    """What a record says, with the end of its traceback."""
    try:
        text = record.getMessage()
    except Exception:  # arguments that have no text, or do not fit
        text = f"{printed(record.msg)} <unprintable arguments>"
    if record.exc_info and record.exc_info[1] is not None:
        text = f"{text}\n{_format(record.exc_info)[-_TRACEBACK:]}"
    return text
