"""Every error that Laneway raises, in one tree.

::

    LanewayError
    ├── ConfigError              a manifest, setting or command line is wrong
    │   └── ServerRefused        Redis or Kafka is set up so that promises could not be kept
    ├── InvalidTask              a task can't be submitted as it is (HTTP 422)
    │   ├── UnknownLane          ... its lane does not exist or is being removed
    │   ├── UnknownTask          ... no such task type or id (HTTP 404)
    │   └── PayloadTooLarge      ... its payload is over the limit (HTTP 413)
    ├── IdempotencyConflict      same key, other payload (HTTP 409)
    ├── Refused                  not now: try again after ``retry_after`` seconds
    │   ├── RateLimited          a token bucket is empty (HTTP 429)
    │   ├── QueueFull            the queue's maximum depth is reached (HTTP 503)
    │   └── Unavailable          Redis is away, full or behind; nothing was changed (HTTP 503)
    ├── OutcomeUnknown           no answer came: it may or may not have happened; a retry is safe (HTTP 504)
    ├── UnknownQueue             the gateway serves no such queue (HTTP 404)
    ├── AccessDenied             the credential is missing or unknown, or may not do that (HTTP 401, 403)
    ├── WrongState               the task's state does not allow it, or it changed meanwhile (HTTP 409, 412)
    ├── InvalidRequest           what was asked is not of a form that the gateway takes (other HTTP 4xx)
    ├── SchemaTooNew             the data in Redis was written by a newer Laneway
    ├── LeaseLost                the caller no longer holds the task; it must write nothing
    ├── InvalidCheckpoint        a checkpoint is too large, can't be encoded, or is not of the type asked for
    └── TaskNotSucceeded         raised by ``handle.result()``
        ├── TaskDead
        ├── TaskCancelled
        ├── TaskExpired
        └── ResultTimeout        the task has not ended in the given time
"""

from __future__ import annotations


class LanewayError(Exception):
    """Base of all errors that Laneway raises on purpose.

    ``problem`` is the name of the problem that a gateway answered with, such as ``unknown-lane``; None when the error
    did not come over HTTP.
    """

    problem: str | None = None


class ConfigError(LanewayError):
    """A manifest, setting or command line is wrong; the message says what would be right."""


class ServerRefused(ConfigError):
    """A server is set up so that Laneway's promises could not be kept; the message says which setting."""


class InvalidTask(LanewayError):
    """The task can't be submitted as it is."""


class UnknownLane(InvalidTask):
    """The lane does not exist, or is being removed."""


class UnknownTask(InvalidTask):
    """No such task type, or no task with that id."""


class PayloadTooLarge(InvalidTask):
    """The payload is over the queue's limit."""


class IdempotencyConflict(LanewayError):
    """The idempotency key (or task id) belongs to a task with another payload.

    ``task_id`` is the id of the task that holds the key.
    """

    def __init__(self, message: str, task_id: str) -> None:
        super().__init__(message)
        self.task_id = task_id


class Refused(LanewayError):
    """Not now; ``retry_after`` says in how many seconds to try again."""

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RateLimited(Refused):
    """A submission rate limit of the queue, lane or tenant is used up; ``scope`` says which."""

    def __init__(self, message: str, retry_after: float, scope: str) -> None:
        super().__init__(message, retry_after)
        self.scope = scope


class QueueFull(Refused):
    """The queue holds as many tasks as it may."""


class Unavailable(Refused):
    """Redis is away, full or behind. Nothing was changed."""


class OutcomeUnknown(LanewayError):
    """No answer came in time: the call may or may not have happened. Repeating it is safe.

    ``task_id`` names the task that was submitted, when it was one.
    """

    def __init__(self, message: str, task_id: str = "") -> None:
        super().__init__(message)
        self.task_id = task_id


class UnknownQueue(LanewayError):
    """The gateway serves no queue of that name."""


class AccessDenied(LanewayError):
    """The gateway does not know the credential, or it may not do that."""


class WrongState(LanewayError):
    """The state of the task does not allow it, or it changed since it was looked at. Nothing was changed."""


class InvalidRequest(LanewayError):
    """What was asked is not of a form that the gateway takes; the message says what would be right."""


class SchemaTooNew(LanewayError):
    """The data in Redis was written by a newer Laneway than this one."""


class LeaseLost(LanewayError):
    """The caller does not hold the task any more and must write nothing for it."""


class InvalidCheckpoint(LanewayError):
    """A checkpoint is too large or can't be encoded, and was not saved; or it is not of the type asked for."""


class TaskNotSucceeded(LanewayError):
    """The task awaited did not succeed. ``task_id`` names it."""

    def __init__(self, message: str, task_id: str = "") -> None:
        super().__init__(message)
        self.task_id = task_id


class TaskDead(TaskNotSucceeded):
    """The task used up its attempts, or failed for good; it is in the dead letters."""


class TaskCancelled(TaskNotSucceeded):
    """The task was cancelled."""


class TaskExpired(TaskNotSucceeded):
    """The task was not started in time."""


class ResultTimeout(TaskNotSucceeded):
    """The task has not ended in the time given. It goes on."""
