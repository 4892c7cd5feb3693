"""What an answer of the API server means."""

from __future__ import annotations

import pytest

from laneway_operator.engine.errors import ClusterError, Conflict, Forbidden, Invalid, NotFound, Unreachable, error_of

_TYPED = (
    "failed to create typed patch object (team/laneway-q-gateway; apps/v1, Kind=Deployment): "
    ".spec.template.spec.volumes[0].nonsense: field not declared in schema"
)


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (404, "", NotFound),
        (409, "", Conflict),
        (400, "", Invalid),
        (422, "", Invalid),
        (500, _TYPED, Invalid),
        (403, "", Forbidden),
        (0, "", Unreachable),
        (429, "", Unreachable),
        (500, "failed calling webhook", Unreachable),
        (503, "", Unreachable),
        (418, "", ClusterError),
    ],
)
def test_each_status_is_an_error_of_its_kind(status: int, message: str, kind: type[ClusterError]) -> None:
    assert type(error_of(status, "InternalError", message)) is kind


@pytest.mark.parametrize(("status", "answered"), [(0, False), (429, False), (503, False), (500, True), (504, True)])
def test_an_error_of_one_request_differs_from_a_server_that_is_away(status: int, answered: bool) -> None:
    error = error_of(status, "", "x")
    assert isinstance(error, Unreachable)
    assert error.answered is answered
