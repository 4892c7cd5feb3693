"""Options that choose tasks, and what the API calls them."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import click

from laneway.cli.params import KEY_VALUE, WHEN

#: Several values may stand in one, with commas between; "\\," is one that belongs to a value.
_COMMA = re.compile(r"(?<!\\),")

_F = TypeVar("_F", bound=Callable[..., Any])

STATES = (
    "running", "dispatched", "queued", "parked", "scheduled", "blocked", "dead", "expired", "cancelled", "succeeded",
)  # fmt: skip

_LIKE = (
    click.option("--type", "type", multiple=True, help="Only of this type; may be given several times."),
    click.option("--lane", "lane", multiple=True, help="Only of this lane; may be given several times."),
    click.option("--tenant", "tenant", multiple=True, help="Only of this tenant ('' is that of tasks that name none)."),
    click.option(
        "--label", "label", type=KEY_VALUE, multiple=True, metavar="NAME=VALUE",
        help="Only with this label; with several, only with all of them.",
    ),
    click.option("--error", "error", metavar="TEXT", help="Only with this text in an error, in upper or lower case."),
    click.option(
        "--created-from", "created_from", type=WHEN, metavar="TIME",
        help="Only those submitted since: a time, or how long ago (2h).",
    ),
    click.option("--created-to", "created_to", type=WHEN, metavar="TIME", help="Only those submitted before."),
    click.option("--ended-from", "ended_from", type=WHEN, metavar="TIME", help="Only those that ended since."),
    click.option("--ended-to", "ended_to", type=WHEN, metavar="TIME", help="Only those that ended before."),
)  # fmt: skip
_OF_TASKS = (
    click.option(
        "--state", "state", multiple=True, metavar="STATE",
        help=f"Only in this state; several are taken together: {', '.join(STATES)}.",
    ),
    *_LIKE,
    click.option("--id-prefix", "q", metavar="TEXT", help="Only those whose id begins so."),
)  # fmt: skip
_OF_DEAD = (*_LIKE, click.option("--fingerprint", "fingerprint", help="Only of this group; see laneway dead groups."))
_NAMES = (
    "state", "type", "lane", "tenant", "label", "error", "created_from", "created_to", "ended_from", "ended_to", "q",
    "fingerprint",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Chosen:
    """What tasks must be like; by Python's names of the API's filters, with those alone that are given."""

    values: Mapping[str, Any]

    @property
    def empty(self) -> bool:
        """Whether every task is meant."""
        return not self.values

    def query(self) -> dict[str, Any]:
        """As HttpClient's methods take them."""
        return dict(self.values)

    def body(self) -> dict[str, Any]:
        """As the ``filter`` of a change of many: the names and texts of the query."""
        from laneway.client.http import filter_query

        return filter_query(self.values)


def task_filters(command: _F) -> _F:
    """Adds the options that choose tasks; the command gets them as ``chosen``."""
    return _with(command, _OF_TASKS)


def dead_filters(command: _F) -> _F:
    """Adds the options that choose dead letters; the command gets them as ``chosen``."""
    return _with(command, _OF_DEAD)


def _with(command: _F, options: tuple[Callable[[Any], Any], ...]) -> _F:
    @functools.wraps(command)
    def run(*args: Any, **rest: Any) -> Any:
        given = {name: rest.pop(name) for name in _NAMES if name in rest}
        return command(*args, chosen=Chosen(_values(given)), **rest)

    for option in reversed(options):
        run = option(run)
    return run  # type: ignore[return-value]


def _values(given: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in given.items():
        if value is None or value == ():
            continue
        if name == "label":
            found[name] = dict(value)
            if len(found[name]) < len(value):
                raise click.UsageError("--label is given twice with one name: no task has two values of a label")
        elif isinstance(value, tuple):
            parts = list(dict.fromkeys(part.replace("\\,", ",") for text in value for part in _COMMA.split(text)))
            _check(name, parts)
            found[name] = parts
        else:
            found[name] = value
    for start, end in (("created_from", "created_to"), ("ended_from", "ended_to")):
        if (
            isinstance(found.get(start), datetime)
            and isinstance(found.get(end), datetime)
            and found[start] > found[end]
        ):
            raise click.UsageError(
                f"--{start.replace('_', '-')} must be before --{end.replace('_', '-')}: no task is both"
            )
    return found


def _check(name: str, parts: list[str]) -> None:
    if name != "state":
        return
    for part in parts:
        if part not in STATES:
            import difflib

            near = difflib.get_close_matches(part, STATES, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"the states are {', '.join(STATES)}"
            raise click.UsageError(f"there is no state {part!r}; {hint}")
