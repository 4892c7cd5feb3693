"""What can be set per submission, over what the task's decorator says."""

from __future__ import annotations

import copy
from datetime import datetime, timedelta
from typing import TypedDict

from laneway.errors import InvalidTask
from laneway.kit.ids import id_bytes
from laneway.model.envelope import Backoff
from laneway.submit.new_task import NewTask


class Options(TypedDict, total=False):
    """Options of a submission. Times are in seconds, or a timedelta."""

    lane: str
    """The lane, by name."""
    priority: int
    """0 to 9; within a lane, 9 goes first."""
    max_attempts: int
    """1 to 255, the first included."""
    timeout: float | timedelta
    """Of one execution; 0: unbounded."""
    start_timeout: float | timedelta
    """From submission to the first start; then the task expires. 0: unbounded."""
    delay: float | timedelta
    """Not before this much time from now."""
    run_at: datetime
    """Not before then (with a time zone)."""
    key: str
    """Idempotency key: one key, one task, within the tenant."""
    tenant: str
    """For whom the task is; fairness, limits and keys are per tenant."""
    backoff: Backoff
    """How long to wait between attempts."""
    labels: dict[str, str]
    """Added to the decorator's labels."""
    description: str
    """For people; at most 500 characters."""
    trace: str
    """A W3C traceparent."""
    id: str
    """The id to submit under: that of an OutcomeUnknown, to try again."""


_NAMES = frozenset(Options.__annotations__)
_TIMES = frozenset({"timeout", "start_timeout", "delay"})


def apply_options(template: NewTask, options: Options) -> NewTask:
    """A copy of ``template`` with options set.

    Raises:
        InvalidTask: there is no such option, or an id is not one. Values are checked when submitting.
    """
    task = copy.copy(template)
    for name, value in options.items():
        if name not in _NAMES:
            raise InvalidTask(f"there is no option {name!r}; the options are: {', '.join(sorted(_NAMES))}")
        if name in _TIMES and isinstance(value, timedelta):
            value = value.total_seconds()
        elif name == "labels" and isinstance(value, dict):
            value = {**(template.labels or {}), **value}
        elif name == "id" and isinstance(value, str):
            try:
                value = id_bytes(value)
            except ValueError as error:
                raise InvalidTask(str(error)) from error
        setattr(task, name, value)
    return task
