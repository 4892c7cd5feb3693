"""How a list is read: the stretches that it is made of, each in the order that one set (or several of a kind) has, and
the cursors that name a place in it. Pure: the adapters read what this says."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from laneway.model.config import QueueConfig
from laneway.model.states import FINAL, HELD, State
from laneway.ports.browse import LIST_ORDER, Filter, Position, Sort

_CURSOR = 1
_ENDED_ORDER = tuple(state for state in LIST_ORDER if state in FINAL)
_WAITING = (State.QUEUED, State.PARKED, State.SCHEDULED, State.BLOCKED)

_POSSIBLE: dict[Sort, tuple[frozenset[State], str]] = {
    Sort.NEXT: (frozenset(_WAITING), "states that wait (queued, parked, scheduled, blocked)"),
    Sort.DUE: (frozenset({State.SCHEDULED}), "scheduled tasks"),
    Sort.ENDED: (FINAL, "ended states (succeeded, dead, cancelled, expired)"),
    Sort.ENDED_LAST: (FINAL, "ended states (succeeded, dead, cancelled, expired)"),
    Sort.CREATED: (HELD, "running and dispatched tasks"),
    Sort.CREATED_LAST: (HELD, "running and dispatched tasks"),
}


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a list that is read from one place: a lane, the scheduled, parked or held tasks, or the sets of ended
    ones merged by time. ``low`` and ``high`` bound the scores (from low on, and before high)."""

    name: str
    source: str  # lane | scheduled | parked | held | made | ended
    states: tuple[State, ...]
    lane: int = 0
    tenant: str | None = None
    backwards: bool = False
    low: float = -math.inf
    high: float = math.inf


def sort_of(text: str, wanted: Filter) -> Sort:
    """The order that is meant: '' is the best there is for these states.

    Raises:
        ValueError: there is no such order, or not for these states; it says which are possible.
    """
    if not text:
        only_ended = bool(wanted.states) and FINAL.issuperset(wanted.states)
        return Sort.ENDED_LAST if only_ended else Sort.STATES
    if text not in {sort.value for sort in _POSSIBLE}:
        raise ValueError(f"sort must be one of {', '.join(_POSSIBLE)}, not {text[:60]!r}")
    check_sort(Sort(text), wanted)
    return Sort(text)


def check_sort(sort: Sort, wanted: Filter) -> None:
    """Raises ValueError when a list of these states can't be had in this order, saying which orders are possible."""
    if sort in (Sort.STATES, Sort.OLDEST):
        return
    states, words = _POSSIBLE[sort]
    if wanted.states and states.issuperset(wanted.states):
        return
    asked = set(wanted.states or LIST_ORDER)
    possible = [name.value for name, (able, _) in _POSSIBLE.items() if able.issuperset(asked)]
    others = f"for the states asked for there is {', '.join(possible)}" if possible else "leave sort out"
    raise ValueError(f"sort={sort} is for {words}: ask for such states alone, or {others}")


def told_by_sizes(wanted: Filter) -> bool:
    """Whether the sizes of the sets tell how many tasks a filter lets through: one by states alone, or of what is
    queued in some lanes."""
    by_lanes = wanted.lanes is not None and set(wanted.states) != {State.QUEUED}
    return wanted == Filter(states=wanted.states, lanes=wanted.lanes) and not by_lanes


def stretches(wanted: Filter, sort: Sort, config: QueueConfig) -> list[Stretch]:
    """The list as stretches, in order.

    Raises:
        ValueError: the order is not possible for these states.
    """
    check_sort(sort, wanted)
    if wanted.tenants == () or wanted.types == () or wanted.lanes == ():
        return []
    states = tuple(state for state in LIST_ORDER if not wanted.states or state in wanted.states)
    if wanted.ended_from is not None or wanted.ended_to is not None:
        states = tuple(state for state in states if state.final)  # (nothing else has ended)
    if sort in (Sort.ENDED, Sort.ENDED_LAST):
        return [_ended(states, wanted, sort)] if states else []
    if sort in (Sort.CREATED, Sort.CREATED_LAST):
        name = "-made" if sort is Sort.CREATED_LAST else "made"
        return [Stretch(name, "made", states, backwards=sort is Sort.CREATED_LAST)]
    found: list[Stretch] = []
    for state in states:
        if state is State.QUEUED:
            found += _lanes(wanted, config)
        elif state is State.PARKED:
            found += _parked(wanted)
        elif state is State.SCHEDULED:
            found.append(Stretch("scheduled", "scheduled", (state,)))
        elif state in HELD:
            found.append(Stretch(state.label, "held", (state,)))
        elif state.final:
            found.append(_ended((state,), wanted, Sort.ENDED if sort is Sort.OLDEST else Sort.ENDED_LAST))
    return found


def _lanes(wanted: Filter, config: QueueConfig) -> list[Stretch]:
    return [
        Stretch(f"lane:{lane.n}", "lane", (State.QUEUED,), lane=lane.n)
        for lane in config.lanes
        if wanted.lanes is None or lane.name in wanted.lanes
    ]


def _parked(wanted: Filter) -> list[Stretch]:
    if wanted.tenants is None:
        return [Stretch("parked", "parked", (State.PARKED,))]
    tenants = sorted(wanted.tenants, key=str.encode)
    return [Stretch(f"parked:{tenant}", "parked", (State.PARKED,), tenant=tenant) for tenant in tenants]


def _ended(states: Sequence[State], wanted: Filter, sort: Sort) -> Stretch:
    merged = tuple(state for state in _ENDED_ORDER if state in states)
    # A task ends after it was made.
    low = max(-math.inf if wanted.ended_from is None else wanted.ended_from, wanted.created_from or -math.inf)
    # (Both bounds are of the same time here. The search must stop at them: more tasks end all the while.)
    high = min(math.inf if bound is None else bound for bound in (wanted.ended_to, wanted.since_to))
    backwards = sort is Sort.ENDED_LAST
    name = ("-" if backwards else "") + "+".join(state.label for state in merged)
    return Stretch(name, "ended", merged, backwards=backwards, low=float(low), high=float(high))


def begin_of(stretch: Stretch) -> Position:
    """The position before a stretch's first task."""
    return Position(stretch.name, 0.0, b"")


def rest_of(found: Sequence[Stretch], after: Position | None) -> list[tuple[Stretch, Position | None]]:
    """The stretches from a position on, the first with where to go on in it. A position in a lane that is gone by now
    goes on with the next state."""
    if after is None:
        return [(stretch, None) for stretch in found]
    names = [stretch.name for stretch in found]
    if after.stretch in names:
        at = names.index(after.stretch)
        return [(found[at], after), *((stretch, None) for stretch in found[at + 1 :])]
    kinds = [stretch.source for stretch in found]
    kind = after.stretch.partition(":")[0]
    last = max((i for i, source in enumerate(kinds) if source == kind), default=len(found) - 1)
    return [(stretch, None) for stretch in found[last + 1 :]]


# -- cursors

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[int, bytes, Position]).decode


def _print(wanted: Filter, sort: str, more: str) -> bytes:
    return hashlib.blake2b(_encode([wanted, sort, more]), digest_size=6).digest()


def cursor_text(after: Position, wanted: Filter, sort: str, more: str = "") -> str:
    """A position as text that a client sends back: opaque, versioned, and bound to the filter, the order and ``more``
    (what else decides which tasks are in the list)."""
    raw = _encode((_CURSOR, _print(wanted, sort, more), after))
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def read_cursor(text: str, wanted: Filter, sort: str, more: str = "") -> Position:
    """The position in a cursor.

    Raises:
        ValueError: it is none, or one of another filter or order; it says what to do.
    """
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        version, print_, after = _decode(raw)
    except (ValueError, msgspec.MsgspecError, UnicodeEncodeError):
        raise ValueError("this is no cursor: send `next` of an answer as it is, or none to begin anew") from None
    if version != _CURSOR:
        raise ValueError("this cursor is of another version of Laneway: begin anew without one")
    if print_ != _print(wanted, sort, more):
        raise ValueError(
            "this cursor belongs to another filter or sort: send it with the parameters of the request that it came "
            "from, or begin anew without one"
        )
    if not math.isfinite(after.score):
        raise ValueError("this is no cursor: send `next` of an answer as it is, or none to begin anew")
    return after
