"""What a handler may return or raise to say what becomes of its task, other than a result or a failure."""

from __future__ import annotations


class Outcome(Exception):
    """Base of the outcomes. Each may be returned or raised; ``reason`` is kept with the task."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason


class Retry(Outcome):
    """Fail this attempt and try again after ``delay`` seconds (None: by the task's backoff)."""

    def __init__(self, delay: float | None = None, reason: str = "") -> None:
        super().__init__(reason)
        self.delay = delay


class Snooze(Outcome):
    """Not now: run again after ``delay`` seconds. Burns no attempt."""

    def __init__(self, delay: float, reason: str = "") -> None:
        super().__init__(reason)
        self.delay = delay


class Cancel(Outcome):
    """The task is not wanted any more: it ends as cancelled."""


class Discard(Outcome):
    """Failed for good: straight to the dead letters, whatever attempts are left."""
