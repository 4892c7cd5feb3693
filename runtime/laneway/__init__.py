"""Laneway: a Kubernetes-native distributed priority task queue on Redis and Kafka.

What an application needs is here: :class:`App` and what goes with it. Names are imported when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from laneway.client import (
        App,
        Call,
        Context,
        Handle,
        Middleware,
        SyncApp,
        SyncHandle,
        Task,
        TaskStatus,
        stand_in_context,
    )
    from laneway.client.http import HttpClient
    from laneway.errors import (
        AccessDenied,
        ConfigError,
        IdempotencyConflict,
        InvalidCheckpoint,
        InvalidRequest,
        InvalidTask,
        LanewayError,
        LeaseLost,
        OutcomeUnknown,
        PayloadTooLarge,
        QueueFull,
        RateLimited,
        Refused,
        ResultTimeout,
        SchemaTooNew,
        ServerRefused,
        TaskCancelled,
        TaskDead,
        TaskExpired,
        TaskNotSucceeded,
        Unavailable,
        UnknownLane,
        UnknownQueue,
        UnknownTask,
        WrongState,
    )
    from laneway.model.envelope import Backoff
    from laneway.model.outcomes import Cancel, Discard, Outcome, Retry, Snooze
    from laneway.model.states import State
    from laneway.submit import NewTask

__version__ = "0.1.0"

_HOMES = {
    "laneway.client": (
        "App", "Call", "Context", "Handle", "Middleware", "SyncApp", "SyncHandle", "Task", "TaskStatus",
        "stand_in_context",
    ),
    "laneway.client.http": ("HttpClient",),
    "laneway.errors": (
        "AccessDenied", "ConfigError", "IdempotencyConflict", "InvalidCheckpoint", "InvalidRequest", "InvalidTask",
        "LanewayError", "LeaseLost", "OutcomeUnknown", "PayloadTooLarge", "QueueFull", "RateLimited", "Refused",
        "ResultTimeout", "SchemaTooNew", "ServerRefused", "TaskCancelled", "TaskDead", "TaskExpired",
        "TaskNotSucceeded", "Unavailable", "UnknownLane", "UnknownQueue", "UnknownTask", "WrongState",
    ),
    "laneway.model.envelope": ("Backoff",),
    "laneway.model.outcomes": ("Cancel", "Discard", "Outcome", "Retry", "Snooze"),
    "laneway.model.states": ("State",),
    "laneway.submit": ("NewTask",),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "AccessDenied",
    "App",
    "Backoff",
    "Call",
    "Cancel",
    "ConfigError",
    "Context",
    "Discard",
    "Handle",
    "HttpClient",
    "IdempotencyConflict",
    "InvalidCheckpoint",
    "InvalidRequest",
    "InvalidTask",
    "LanewayError",
    "LeaseLost",
    "Middleware",
    "NewTask",
    "Outcome",
    "OutcomeUnknown",
    "PayloadTooLarge",
    "QueueFull",
    "RateLimited",
    "Refused",
    "ResultTimeout",
    "Retry",
    "SchemaTooNew",
    "ServerRefused",
    "Snooze",
    "State",
    "SyncApp",
    "SyncHandle",
    "Task",
    "TaskCancelled",
    "TaskDead",
    "TaskExpired",
    "TaskNotSucceeded",
    "TaskStatus",
    "Unavailable",
    "UnknownLane",
    "UnknownQueue",
    "UnknownTask",
    "WrongState",
    "__version__",
    "stand_in_context",
]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'laneway' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
