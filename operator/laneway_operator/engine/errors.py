"""What can go wrong between the operator and the API server.

EngineError
├── NotLeading             another process leads, or may lead soon: nothing may be written
└── ClusterError           the API server refused or was not reached (status 0)
    ├── NotFound           404
    ├── Conflict           409: a newer object, another manager's field, or a name that is taken
    ├── Invalid            422, 400, or 500 for a patch of no known type: the object is wrong; trying again is in vain
    ├── Forbidden          401 or 403: a right is missing
    └── Unreachable        no answer in time, a broken connection, or an error of the server (429, 5xx)
"""

from __future__ import annotations

from typing import Final

_NO_SUCH_OBJECT: Final = "failed to create typed patch object"


class EngineError(Exception):
    """The base of these errors."""


class NotLeading(EngineError):
    """Another process leads, or may lead before a request sent now would end."""


class ClusterError(EngineError):
    """The API server refused a request, or was not reached.

    ``status`` is the HTTP status (0: no answer), ``reason`` the API's own (such as "AlreadyExists").
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}" if status else f"{reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message


class NotFound(ClusterError):
    """There is no such object."""


class Conflict(ClusterError):
    """The object is newer than was thought, or its name or a field of it is another's."""


class Invalid(ClusterError):
    """The API server will not have such an object; the message says why."""


class Forbidden(ClusterError):
    """The operator lacks a right."""


class Unreachable(ClusterError):
    """The API server gave no answer in time, or one that says: later."""

    @property
    def answered(self) -> bool:
        """Whether it said what is wrong, and of this one request: a webhook that fails, say."""
        return self.status not in (0, 429, 503)


def error_of(status: int, reason: str, message: str) -> ClusterError:
    """The error for an answer with this status."""
    match status:
        case 404:
            return NotFound(status, reason, message)
        case 409:
            return Conflict(status, reason, message)
        case 400 | 422:
            return Invalid(status, reason, message)
        case 401 | 403:
            return Forbidden(status, reason, message)
        case 0 | 429:
            return Unreachable(status, reason, message)
    # What a schema does not have, server-side apply calls an error of the server's own.
    if status == 500 and _NO_SUCH_OBJECT in message:
        return Invalid(status, reason, message)
    return Unreachable(status, reason, message) if status >= 500 else ClusterError(status, reason, message)
