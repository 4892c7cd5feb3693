"""``laneway task cancel|retry|revise``: by id, or all that are like something."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import click

from laneway.cli.exits import Exit, Failure
from laneway.cli.filters import Chosen, task_filters
from laneway.cli.many import Done, confirmed, each, on_terminal
from laneway.cli.options import yes_option
from laneway.cli.output import print_table, progress
from laneway.cli.params import MOMENT, SECONDS, TASK_ID
from laneway.cli.session import Session, on_api
from laneway.cli.where import Where, place_options
from laneway.errors import UnknownTask, WrongState

_ids = click.argument("ids", type=TASK_ID, nargs=-1, metavar="[ID...]")
_every = click.option("--all", "every", is_flag=True, help="All tasks that it can be done to.")
_dry_run = click.option("--dry-run", is_flag=True, help="Only tell how many it would be.")


@click.command()
@_ids
@_every
@task_filters
@_dry_run
@yes_option
@place_options
def cancel(ids: tuple[str, ...], every: bool, chosen: Chosen, dry_run: bool, yes: bool, where: Where) -> int:
    """Cancel tasks. One that runs is asked to stop, and its worker confirms.

    Names tasks by ID, or those that are like something.
    Exit code 3 when one of the IDs is unknown, 1 when one has ended otherwise.

    \b
    Examples:
      laneway task cancel 06gmhl2oq4k1u8bn5d3ti98 -q orders
      laneway task cancel -q orders --type newsletter --state queued,scheduled
      laneway task cancel -q orders --label campaign=7 --dry-run
    """
    return _change("cancel", ids, every, chosen, dry_run, yes, where, lambda s: s.client.cancel, {})


@click.command()
@_ids
@_every
@task_filters
@_dry_run
@yes_option
@place_options
def retry(ids: tuple[str, ...], every: bool, chosen: Chosen, dry_run: bool, yes: bool, where: Where) -> int:
    """Queue tasks now: those that wait for a retry, and dead, cancelled and expired ones.

    Exit code 3 when one of the IDs is unknown, 1 when one waits or runs already, or has succeeded.

    \b
    Examples:
      laneway task retry 06gmhl2oq4k1u8bn5d3ti98 -q orders
      laneway task retry -q orders --state scheduled --error "connection refused"
    """
    return _change("retry", ids, every, chosen, dry_run, yes, where, lambda s: s.client.retry, {})


@click.command()
@_ids
@_every
@task_filters
@click.option("--set-priority", type=click.IntRange(0, 9), help="The new priority within the lane, 9 first.")
@click.option("--set-lane", metavar="LANE", help="The lane to move them to.")
@click.option("--set-delay", type=SECONDS, help="Not before so long from now; 0: at once.")
@click.option("--set-at", type=MOMENT, help="Not before this time.")
@_dry_run
@yes_option
@place_options
def revise(
    ids: tuple[str, ...],
    every: bool,
    chosen: Chosen,
    set_priority: int | None,
    set_lane: str | None,
    set_delay: float | None,
    set_at: datetime | None,
    dry_run: bool,
    yes: bool,
    where: Where,
) -> int:
    """Change tasks that wait: their priority, lane or due time.

    Exit code 3 when one of the IDs is unknown, 1 when one does not wait.

    \b
    Examples:
      laneway task revise 06gmhl2oq4k1u8bn5d3ti98 -q orders --set-priority 9
      laneway task revise -q orders --tenant acme --state queued --set-lane low --yes
    """
    if set_delay is not None and set_at is not None:
        raise click.UsageError("give --set-delay or --set-at, not both")
    given = {"priority": set_priority, "lane": set_lane, "delay": set_delay, "run_at": set_at}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if not changes:
        raise click.UsageError("say what to change: --set-priority, --set-lane, --set-delay or --set-at")
    if not ids and (set_delay is not None or set_at is not None):
        raise click.UsageError("the due time is changed task by task: name tasks by ID")

    def act(session: Session) -> Callable[[str], Awaitable[str]]:
        async def one(id: str) -> str:
            await session.client.revise(id, **changes)
            return "revised"

        return one

    return _change("revise", ids, every, chosen, dry_run, yes, where, act, changes)


def _change(
    action: str,
    ids: tuple[str, ...],
    every: bool,
    chosen: Chosen,
    dry_run: bool,
    yes: bool,
    where: Where,
    act: Callable[[Session], Callable[[str], Awaitable[str]]],
    changes: dict[str, Any],
) -> int:
    ways = [bool(ids), every, not chosen.empty]
    if not any(ways):
        raise click.UsageError(
            "say which: IDs, or --all, or some by --state, --type and the like (see laneway task list)"
        )
    if sum(ways) > 1:
        raise click.UsageError("give IDs, or --all, or filters: one of the three")
    if not ids and not yes and not dry_run and not on_terminal():
        raise click.UsageError(f"there is no terminal to ask on: add --yes to {action} them")

    async def work(session: Session) -> int:
        if ids and not dry_run:
            return await _by_id(session, tuple(dict.fromkeys(ids)), act(session))
        which: dict[str, Any] = {"ids": list(ids)} if ids else {"filter": chosen.body()} if not every else {"all": True}
        body = {"action": action, **which, **changes}
        return await _by_filter(session, action, body, dry_run, yes)

    return on_api(where, work, changes=not dry_run)


async def _by_id(session: Session, ids: tuple[str, ...], act: Callable[[str], Awaitable[str]]) -> int:
    async def outcome(id: str) -> tuple[str, str]:
        try:
            return await act(id), ""
        except UnknownTask as error:
            return "unknown", str(error)
        except WrongState as error:
            return ("ended" if error.problem == "already-ended" else "refused"), str(error)

    outcomes = await each(ids, outcome)
    found = [
        {"id": id, "outcome": code} | ({"why": why} if code == "refused" else {})
        for id, (code, why) in zip(ids, outcomes, strict=True)
    ]
    session.out.write(
        {"tasks": found},
        lambda: print_table(["task", "outcome"], [(t["id"], t.get("why") or t["outcome"]) for t in found]),
    )
    codes = {code for code, _ in outcomes}
    if "unknown" in codes:
        return Exit.NOT_FOUND
    return Exit.FAILED if codes & {"ended", "refused"} else Exit.OK


async def _by_filter(session: Session, action: str, body: dict[str, Any], dry_run: bool, yes: bool) -> int:
    counted = await _bulk(session, body | {"dryRun": True}, "looking", None) if dry_run or not yes else None
    if dry_run:
        assert counted is not None
        return _report(session, action, counted, dry_run=True)
    if counted is not None:
        n = f"{counted.matched:,} tasks" if counted.matched != 1 else "1 task"
        if counted.matched and not confirmed(f"{action} {n} of queue {session.target}?"):
            raise Failure(Exit.FAILED, "nothing was changed")
    done = await _bulk(session, body, action, counted.scanned if counted is not None else None)
    return _report(session, action, done)


async def _bulk(session: Session, body: dict[str, Any], what: str, total: int | None) -> Done:
    """Goes on until all is done, with a bar of how many tasks were looked at."""
    done = Done()
    cursor: str | None = None
    with progress(total, what) as bar:
        while True:
            got = await session.client.bulk(body | ({"cursor": cursor} if cursor else {}))
            done.matched += got.matched
            done.changed += got.changed
            done.scanned += got.scanned
            done.errors += got.errors
            bar.update(bar.task_ids[0], completed=done.scanned)
            cursor = got.next
            if cursor is None:
                return done


_DONE = {"cancel": "cancelled", "retry": "queued again", "revise": "revised"}


def _report(session: Session, action: str, done: Done, *, dry_run: bool = False) -> int:
    document: dict[str, Any] = {
        "matched": done.matched,
        "changed": done.changed,
        "scanned": done.scanned,
        "dryRun": dry_run,
    }
    if done.errors:
        document["errors"] = done.errors[:10]

    def draw() -> None:
        if dry_run:
            click.echo(f"would {action} {done.matched:,} of {done.scanned:,} tasks looked at")
            return
        click.echo(f"{_DONE[action]} {done.changed:,} of {done.matched:,}")
        for error in done.errors[:10]:
            click.echo(f"laneway task: {error}", err=True)

    session.out.write(document, draw)
    return Exit.FAILED if done.errors else Exit.OK
