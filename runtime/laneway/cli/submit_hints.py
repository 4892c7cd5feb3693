"""What workers have announced of a type of tasks, against a task that was submitted: a typing error shows at once, and
not only when the task has waited for a worker that never comes."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from laneway.errors import LanewayError

if TYPE_CHECKING:
    from laneway.cli.session import Session
    from laneway.client.http_answers import TypeItem


async def warn(session: Session, body: Mapping[str, Any]) -> None:
    """Says on standard error what looks wrong with a task. It is submitted already: that no worker has announced its
    type may be because the worker is yet to come, so it is no error, nor is it one when nobody can be asked."""
    try:
        known = await session.client.types()
    except LanewayError:
        return
    for hint in hints(body, known):
        click.echo(f"laneway submit: {hint}", err=True)


def hints(body: Mapping[str, Any], known: Sequence[TypeItem]) -> list[str]:
    """What looks wrong with a task, as sentences; nothing while no worker has announced anything."""
    if not known:
        return []
    name = str(body.get("type", ""))
    found = next((item for item in known if item.type == name), None)
    if found is None:
        near = difflib.get_close_matches(name, [item.type for item in known], 1)
        hint = f"did you mean {near[0]!r}?" if near else "see laneway types"
        return [f"no worker of this queue has announced the type {name!r}, so the task waits for one that does; {hint}"]
    required = found.payload.get("required")
    given = body.get("payload") or {}
    missing = [str(arg) for arg in required if arg not in given] if isinstance(required, list) else []
    if not missing:
        return []
    what = "the argument" if len(missing) == 1 else "the arguments"
    return [f"the task lacks {what} {', '.join(missing)}, which {name} requires"]
