"""What a submitter asks for, and what it gets."""

from __future__ import annotations

from datetime import datetime

import msgspec

from laneway.kit.ids import id_text
from laneway.model.config import DEFAULT_PRIORITY
from laneway.model.envelope import Backoff


class NewTask(msgspec.Struct, kw_only=True):
    """One task to submit. Times are in seconds.

    ``payload`` is a msgpack map of the handler's arguments. ``lane`` None is the queue's default lane,
    ``max_attempts`` None what the task's definition says at the worker, or else the queue. ``timeout`` bounds one
    execution and ``start_timeout`` the time from submission to the first start (0: unbounded). ``delay`` and
    ``run_at`` exclude each other. ``key`` is the idempotency key, unique within ``tenant``. ``trace`` is a W3C
    traceparent. ``id`` is given by the first submission when it is None, and stays: a task is one task however often
    it is submitted. ``sound`` says that ``payload`` was encoded from named arguments right here, so that it is not
    decoded once more to check it; leave it False for bytes from elsewhere.
    """

    type: str
    payload: bytes = b"\x80"
    lane: str | None = None
    priority: int = DEFAULT_PRIORITY
    max_attempts: int | None = None
    tenant: str = ""
    timeout: float = 0.0
    start_timeout: float = 0.0
    delay: float = 0.0
    run_at: datetime | None = None
    key: str | None = None
    backoff: Backoff | None = None
    labels: dict[str, str] | None = None
    description: str | None = None
    trace: str | None = None
    id: bytes | None = None
    sound: bool = False


class Receipt(msgspec.Struct, frozen=True):
    """The task is in the queue and will not be lost. ``duplicate``: it was there already, under ``id``, by
    its idempotency key or because it was submitted before."""

    id: bytes
    duplicate: bool = False

    @property
    def text(self) -> str:
        """The task's id as people see it: 23 characters."""
        return id_text(self.id)
