"""What may go wrong in a pass and is told in a condition, rather than ending the pass."""

from __future__ import annotations

from typing import Final

from laneway.errors import ConfigError, OutcomeUnknown, SchemaTooNew, ServerRefused, Unavailable
from laneway_operator.apply.objects import ForeignObject
from laneway_operator.conditions import ConditionType, Reason
from laneway_operator.engine.errors import Forbidden, Invalid
from laneway_operator.observe.limiter import AccessDenied
from laneway_operator.observe.secrets import SecretForbidden, SecretNotFound
from laneway_operator.observe.servers import SecretInvalid
from laneway_operator.plan.status import Finding

#: The reason of each, the most special first.
_REASONS: Final[tuple[tuple[type[Exception], Reason], ...]] = (
    (ServerRefused, Reason.SERVER_REFUSED),
    (ConfigError, Reason.INVALID_SPEC),
    (SecretNotFound, Reason.SECRET_NOT_FOUND),
    (SecretForbidden, Reason.ACCESS_DENIED),
    (SecretInvalid, Reason.SECRET_INVALID),
    (AccessDenied, Reason.ACCESS_DENIED),
    (SchemaTooNew, Reason.SCHEMA_TOO_NEW),
    (Unavailable, Reason.DEPENDENCY_UNAVAILABLE),
    (OutcomeUnknown, Reason.DEPENDENCY_UNAVAILABLE),
    (ForeignObject, Reason.RESOURCE_CONFLICT),
    (Invalid, Reason.INVALID_SPEC),
    (Forbidden, Reason.ACCESS_DENIED),
)

#: These are told; all others end the pass, and it is tried again.
TROUBLES: Final = tuple(kind for kind, _ in _REASONS)


def finding_of(type: ConditionType, error: Exception) -> Finding:
    """The finding that an error makes."""
    for kind, reason in _REASONS:
        if isinstance(error, kind):
            return Finding(type, False, reason, str(error))
    raise AssertionError(f"{error!r} is no trouble that a condition tells")
