"""A filter of tasks as requests carry it: in a query, and in the JSON of a bulk action."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from laneway.gateway.auth.identity import Identity
from laneway.gateway.bodies import FieldError
from laneway.gateway.problems import Problem
from laneway.gateway.query import bad_form, bad_query
from laneway.kit.ids import ID_CHARS
from laneway.model.config import QueueConfig
from laneway.policy.filters import (
    MOST_ERROR,
    MOST_VALUES,
    InvalidFilter,
    check_lanes,
    parse_filter,
    within_tenants,
    without_tracebacks,
)
from laneway.policy.listing import read_cursor, sort_of
from laneway.ports.browse import LIST_ORDER, Filter, Position, Sort

_LABELS = [state.label for state in LIST_ORDER]
_STATE = "|".join(_LABELS)
_STATES = f"one or more states, with commas between: {', '.join(_LABELS)}"
_TIME = {"format": "date-time"}


def _several(what: str) -> Meta:
    return Meta(min_length=1, description=f"one or more {what}, with commas between (\\, for a comma in a name)")


def _moment(what: str) -> Meta:
    return Meta(
        description=f"an RFC 3339 time with its zone, like 2030-01-31T08:00:00Z: only tasks that {what}",
        extra_json_schema=_TIME,
    )


def _id_prefix() -> Meta:
    return Meta(
        pattern=rf"^[0-9a-v]{{1,{ID_CHARS}}}$",
        description=f"how the task's id begins: up to {ID_CHARS} of the characters 0-9 and a-v",
    )


def _error() -> Meta:
    return Meta(
        min_length=1, max_length=MOST_ERROR, description=f"a text of 1 to {MOST_ERROR} characters in one of its errors"
    )


class FilterQuery(msgspec.Struct, rename="camel", kw_only=True):
    """The parameters of a list that choose tasks. Lists with more of them build on this."""

    state: Annotated[str, Meta(pattern=rf"^({_STATE})(,({_STATE}))*$", description=_STATES)] | None = None
    lane: Annotated[str, _several("lanes")] | None = None
    type: Annotated[str, _several("types")] | None = None
    tenant: (
        Annotated[str, Meta(description="one or more tenants, with commas between; empty: tasks that name none")] | None
    ) = None
    label: (
        Annotated[
            list[Annotated[str, Meta(pattern=r"^[^:]+:")]],
            Meta(max_length=MOST_VALUES, description="name:value, once for each label that a task must have"),
        ]
        | None
    ) = None
    created_from: Annotated[str, _moment("were submitted then or later")] | None = None
    created_to: Annotated[str, _moment("were submitted before then")] | None = None
    ended_from: Annotated[str, _moment("ended then or later")] | None = None
    ended_to: Annotated[str, _moment("ended before then")] | None = None
    error: Annotated[str, _error()] | None = None
    q: Annotated[str, _id_prefix()] | None = None


# In a union of a text and a list, only the description may tell what members must be like: msgspec (0.22) mixes up the
# bounds of the one with those of the other, and writes where it may not. The filter's own reading holds them anyway.
def _told(**schema: object) -> Meta:
    return Meta(extra_json_schema=dict(schema))


_ITEMS = {"minItems": 1, "maxItems": MOST_VALUES}
_Name = Annotated[str, _told(minLength=1)]
_Names = Annotated[list[_Name], _told(**_ITEMS)]
_State = Annotated[str, _told(pattern=rf"^({_STATE})(,({_STATE}))*$")]
_States = Annotated[list[Annotated[str, _told(enum=_LABELS)]], _told(**_ITEMS)]
_Tenants = Annotated[list[str], _told(**_ITEMS)]
_Label = Annotated[str, _told(pattern="^[^:]+:")]
_Labels = Annotated[list[_Label], _told(**_ITEMS)]
_LabelMap = Annotated[dict[_Name, str], _told(minProperties=1, maxProperties=MOST_VALUES)]
_NAMES = Meta(description=f"a list of at most {MOST_VALUES} names, or a text of names with commas between")


class FilterBody(msgspec.Struct, rename="camel", kw_only=True, forbid_unknown_fields=True):
    """Which tasks are meant: all that is said must hold. The names are those of a list's query; where that takes
    several values, a list of them may be given."""

    state: (
        Annotated[_State | _States, Meta(description=f"a list of states, or a text of them: {', '.join(_LABELS)}")]
        | None
    ) = None
    lane: Annotated[_Name | _Names, _NAMES] | None = None
    type: Annotated[_Name | _Names, _NAMES] | None = None
    tenant: Annotated[str | _Tenants, _NAMES] | None = None
    label: (
        Annotated[
            _Label | _Labels | _LabelMap,
            Meta(description="an object of the labels that a task must have, or a list of name:value"),
        ]
        | None
    ) = None
    created_from: Annotated[str, _moment("were submitted then or later")] | None = None
    created_to: Annotated[str, _moment("were submitted before then")] | None = None
    ended_from: Annotated[str, _moment("ended then or later")] | None = None
    ended_to: Annotated[str, _moment("ended before then")] | None = None
    error: Annotated[str, _error()] | None = None
    q: Annotated[str, _id_prefix()] | None = None


def says_nothing(given: FilterBody) -> bool:
    """Whether a filter lets every task through, however it is written: what it means is looked at, not its fields.

    Raises:
        Problem: invalid-request, with each wrong field.
    """
    wanted = _parsed(given)
    return wanted.empty or wanted == Filter(states=LIST_ORDER)


_FIELDS = {field.name: field.encode_name for field in msgspec.structs.fields(FilterQuery)}


def read_filter(given: FilterQuery | FilterBody, config: QueueConfig, identity: Identity) -> Filter:
    """The filter, among the tasks that ``identity`` may see, and in what it may see of them.

    Raises:
        Problem: invalid-query, or invalid-request for one that came as JSON, with each wrong field.
    """
    wanted = _parsed(given)
    try:
        check_lanes(wanted, config)
    except InvalidFilter as error:
        raise _refused(given, error) from None
    if not identity.payloads:
        wanted = without_tracebacks(wanted)
    return within_tenants(wanted, identity.tenants)


def _parsed(given: FilterQuery | FilterBody) -> Filter:
    try:
        return parse_filter({encoded: getattr(given, name) for name, encoded in _FIELDS.items()})
    except InvalidFilter as error:
        raise _refused(given, error) from None


def _refused(given: FilterQuery | FilterBody, error: InvalidFilter) -> Problem:
    if isinstance(given, FilterQuery):
        return bad_query([FieldError(name, message) for name, message in error.errors])
    return bad_form([FieldError(f"filter.{name}", message) for name, message in error.errors])


def read_sort(text: str, wanted: Filter) -> Sort:
    """The order of a list.

    Raises:
        Problem: invalid-query: there is none of this name for these states; it says which there are.
    """
    try:
        return sort_of(text, wanted)
    except ValueError as error:
        raise bad_query([FieldError("sort", str(error))]) from None


def read_position(cursor: str | None, wanted: Filter, sort: str, more: str = "") -> Position | None:
    """Where a page begins.

    Raises:
        Problem: invalid-cursor.
    """
    if cursor is None:
        return None
    try:
        return read_cursor(cursor, wanted, sort, more)
    except ValueError as error:
        raise Problem("invalid-cursor", str(error)) from None
