"""Which tasks a filter means: reading one from the parameters of a query or from JSON, and matching tasks against it.
Pure, so that lists, bulk actions and dead letters mean the same by the same words."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from laneway.kit.ids import ID_BYTES, ID_CHARS, id_text
from laneway.model.config import QueueConfig
from laneway.model.record import AttemptError
from laneway.model.states import State
from laneway.ports.browse import LIST_ORDER, Filter, TaskRow

#: The names of what a filter may say, in a query and in JSON.
NAMES = (
    "state", "lane", "type", "tenant", "label", "createdFrom", "createdTo", "endedFrom", "endedTo", "error", "q",
)  # fmt: skip

_STATES = {state.label: state for state in LIST_ORDER}
_COMMA = re.compile(r"(?<!\\),")
_ID_PREFIX = re.compile(rf"[0-9a-v]{{1,{ID_CHARS}}}")
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOST_VALUES = 100
MOST_ERROR = 500


class InvalidFilter(ValueError):
    """What was given is no filter. ``errors`` has (name, what would be right) of each flaw."""

    def __init__(self, errors: Sequence[tuple[str, str]]) -> None:
        super().__init__("; ".join(message for _, message in errors))
        self.errors = list(errors)


def parse_filter(given: Mapping[str, Any]) -> Filter:
    """A filter from its parts by name (:data:`NAMES`); None counts as not given. Several values are a text with commas
    between (``\\,`` for one that belongs to a value), or a list of values as they are; labels are texts ``name:value``
    or a map. Times are RFC 3339 with a zone, as text or datetime.

    Raises:
        InvalidFilter: with each part that is wrong.
    """
    read = _Reader(given)
    states = read.values("state")
    for text in states or ():
        if text not in _STATES:
            read.wrong("state", f"state must be of {', '.join(_STATES)}, several with commas between; not {text!r}")
    found = Filter(
        states=tuple(state for label, state in _STATES.items() if label in (states or ())),
        lanes=read.values("lane"),
        types=read.values("type"),
        tenants=read.values("tenant", empty=True),
        labels=read.labels(),
        created_from=read.time("createdFrom"),
        created_to=read.time("createdTo"),
        ended_from=read.time("endedFrom"),
        ended_to=read.time("endedTo"),
        error=read.text("error", MOST_ERROR),
        id_prefix=read.text("q", ID_CHARS),
    )
    if found.id_prefix and not _ID_PREFIX.fullmatch(found.id_prefix):
        read.wrong("q", f"q must be how a task's id begins: up to {ID_CHARS} of the characters 0-9 and a-v")
    for name, first, last in (
        ("created", found.created_from, found.created_to),
        ("ended", found.ended_from, found.ended_to),
    ):
        if first is not None and last is not None and first >= last:
            read.wrong(f"{name}To", f"{name}To must be after {name}From")
    if read.errors:
        raise InvalidFilter(read.errors)
    return found


class _Reader:
    """Reads parts, and gathers what is wrong with them."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = given
        self.errors: list[tuple[str, str]] = []
        for name in given:
            if name not in NAMES:
                self.wrong(name, f"a filter has no {name[:60]!r}: it has {', '.join(NAMES)}")

    def wrong(self, name: str, message: str) -> None:
        self.errors.append((name, message))

    def values(self, name: str, *, empty: bool = False) -> tuple[str, ...] | None:
        """Several values; ``empty``: the empty text is one as well."""
        given = self._given.get(name)
        if given is None:
            return None
        if isinstance(given, str):
            parts: list[Any] = [part.replace("\\,", ",") for part in _COMMA.split(given)]
        else:
            parts = list(given) if isinstance(given, list | tuple) else [given]
        bad = any(not isinstance(part, str) or not (part or empty) for part in parts)
        if bad or not 1 <= len(parts) <= MOST_VALUES:
            self.wrong(name, f"{name} must be one or more names (at most {MOST_VALUES}) with commas between")
            return None
        return tuple(sorted(set(parts)))

    def labels(self) -> tuple[tuple[str, str], ...]:
        given = self._given.get("label")
        if given is None:
            return ()
        pairs: list[Any]
        if isinstance(given, Mapping):
            pairs = list(given.items())
        else:
            texts = given if isinstance(given, list | tuple) else [given]
            pairs = [text.split(":", 1) if isinstance(text, str) else () for text in texts]
        if not pairs:  # (as a condition it would be none at all, and let every task through)
            self.wrong("label", "label must name at least one label: leave it out where none is asked for")
            return ()
        for pair in pairs:
            if len(pair) != 2 or not all(isinstance(part, str) for part in pair) or not pair[0]:
                self.wrong("label", "label must be name:value, once for each label that a task must have")
                return ()
        if len(pairs) > MOST_VALUES:
            self.wrong("label", f"label may be given {MOST_VALUES} times at most")
            return ()
        return tuple(sorted({(name, value) for name, value in pairs}))

    def time(self, name: str) -> int | None:
        given = self._given.get(name)
        moment: datetime | None = None
        if isinstance(given, datetime):
            moment = given
        elif isinstance(given, str) and _RFC_3339.fullmatch(given):
            try:
                moment = datetime.fromisoformat(given)
            except ValueError:
                moment = None
        if given is not None and (moment is None or moment.tzinfo is None):
            self.wrong(name, f"{name} must be an RFC 3339 time with its zone, like 2030-01-31T08:00:00Z")
            return None
        return None if moment is None else math.ceil((moment - _EPOCH).total_seconds() * 1000)

    def text(self, name: str, most: int) -> str:
        given = self._given.get(name)
        if given is None:
            return ""
        if not isinstance(given, str) or not 1 <= len(given) <= most:
            self.wrong(name, f"{name} must be a text of 1 to {most} characters")
            return ""
        return given


def check_lanes(wanted: Filter, config: QueueConfig) -> None:
    """Raises InvalidFilter when the filter names a lane that the queue does not have."""
    unknown = [name for name in wanted.lanes or () if config.lane(name) is None]
    if unknown:
        names = ", ".join(lane.name for lane in config.lanes)
        raise InvalidFilter([("lane", f"there is no lane {unknown[0]!r}; the lanes of this queue are {names}")])


def within_tenants(wanted: Filter, tenants: frozenset[str] | None) -> Filter:
    """The filter for one who sees only the tasks of ``tenants`` (None: of all)."""
    if tenants is None:
        return wanted
    seen = tenants if wanted.tenants is None else tenants.intersection(wanted.tenants)
    return Filter(
        **{name: getattr(wanted, name) for name in Filter.__struct_fields__} | {"tenants": tuple(sorted(seen))}
    )


def without_tracebacks(wanted: Filter) -> Filter:
    """The filter for one who may not see tracebacks: a search in them would give them away, letter by letter."""
    return msgspec.structs.replace(wanted, tracebacks=False) if wanted.error else wanted


def with_states(wanted: Filter, states: frozenset[State]) -> Filter | None:
    """The filter among ``states`` alone; None when it names states and none of these."""
    kept = tuple(s for s in LIST_ORDER if s in states and (not wanted.states or s in wanted.states))
    if not kept:
        return None
    return Filter(**{name: getattr(wanted, name) for name in Filter.__struct_fields__} | {"states": kept})


def matches(wanted: Filter, row: TaskRow, config: QueueConfig) -> bool:
    """Whether a task is meant. (Its ``errors`` must all be there when the filter asks for a text in them.)"""
    body, made = row.envelope.body, row.envelope.submitted_ms
    if wanted.states and row.state not in wanted.states:
        return False
    if wanted.lanes is not None:
        lane = config.lane_number(row.lane)
        if lane is None or lane.name not in wanted.lanes:
            return False
    if wanted.types is not None and body.type not in wanted.types:
        return False
    if wanted.tenants is not None and row.envelope.tenant not in wanted.tenants:
        return False
    labels = body.labels or {}
    if any(labels.get(name) != value for name, value in wanted.labels):
        return False
    if not _within(made, wanted.created_from, wanted.created_to) or not _within(row.since_ms, None, wanted.since_to):
        return False
    timed = wanted.ended_from is not None or wanted.ended_to is not None
    if timed and not (row.state.final and _within(row.ended_ms, wanted.ended_from, wanted.ended_to)):
        return False
    if wanted.id_prefix and not id_text(row.id).startswith(wanted.id_prefix):
        return False
    return not wanted.error or any(error_has(wanted.error, error, wanted.tracebacks) for error in row.errors)


def _within(at: int, first: int | None, last: int | None) -> bool:
    return (first is None or at >= first) and (last is None or at < last)


def error_has(text: str, error: AttemptError, tracebacks: bool = True) -> bool:
    """Whether an error has this text, in upper or lower case, as ``kind: message`` or (with ``tracebacks``) in its
    traceback."""
    whole = f"{error.kind}: {error.message}"
    if tracebacks:
        whole += f"\n{error.traceback}"
    if text.isascii():
        return text.encode().lower() in whole.encode().lower()
    return text.casefold() in whole.casefold()


def error_word(text: str) -> bytes:
    """A text, in lower case, that stands in the stored form of any error which has ``text`` (b"": none is known). The
    kind, the message and the traceback are stored apart, so it may not go over what stands between them."""
    if not text.isascii():
        return b""
    parts = [part.strip(" ") for part in re.split(r": ?|\n", text)]
    return max(parts, key=len).lower().encode()


def id_prefix_bytes(prefix: str) -> bytes:
    """The bytes with which every id begins whose text begins with ``prefix``."""
    digits = "0123456789abcdefghijklmnopqrstuv"
    value = 0
    for character in prefix:
        value = value * 32 + digits.index(character)
    whole = len(prefix) * 5 // 8
    return (value >> (len(prefix) * 5 - whole * 8)).to_bytes(whole, "big")[:ID_BYTES]
