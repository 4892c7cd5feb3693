"""``laneway workers list|drain``. (``laneway worker`` runs one.)"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from laneway.cli.exits import Exit, Failure
from laneway.cli.groups import CommandGroup
from laneway.cli.many import confirmed, each, on_terminal
from laneway.cli.options import yes_option
from laneway.cli.output import ago, print_table, span
from laneway.cli.params import SECONDS
from laneway.cli.session import Session, on_api
from laneway.cli.where import Where, place_options

if TYPE_CHECKING:
    from laneway.client.http_answers import WorkerItem


@click.group(cls=CommandGroup)
def workers() -> None:
    """Look at the workers of a queue, and drain them. (To run one: laneway worker.)

    \b
    Examples:
      laneway workers list -q orders
      laneway workers drain web-3 -q orders --wait
    """


@workers.command("list")
@place_options
def list_(where: Where) -> int:
    """List the workers that are registered.

    \b
    Examples:
      laneway workers list -q orders
    """

    async def work(session: Session) -> int:
        found = await session.client.workers()

        def draw() -> None:
            if found:
                print_table(_COLUMNS, map(_row, found))
            else:
                click.echo("no workers are registered")

        session.out.write({"items": [item.raw for item in found]}, draw)
        return Exit.OK

    return on_api(where, work)


_COLUMNS = ("id", "worker", "source", "state", "running", "slots", "heartbeat", "started")


def _row(item: WorkerItem) -> tuple[object, ...]:
    return (
        item.id, item.name, item.mode, item.state, item.running, item.slots, f"{span(item.last_beat_seconds)} ago",
        ago(item.started_at) or "-",
    )  # fmt: skip


@workers.command()
@click.argument("names", nargs=-1, metavar="[ID or NAME]...")
@click.option("--all", "every", is_flag=True, help="All workers of the queue.")
@click.option("--wait", is_flag=True, help="Wait until they are gone.")
@click.option("--wait-timeout", type=SECONDS, help="Wait so long at most.  [default: without end]")
@yes_option
@place_options
def drain(names: tuple[str, ...], every: bool, wait: bool, wait_timeout: float | None, yes: bool, where: Where) -> int:
    """Ask workers to take nothing new, and to end when the tasks that they run have.

    Whoever keeps them running (a Deployment, laneway up) starts new ones.
    Exit code 3 when one of them is not registered, 7 when they are not gone in time.

    \b
    Examples:
      laneway workers drain 5f0c1b2a9d3e4f60 -q orders
      laneway workers drain web-3 -q orders --wait --wait-timeout 2m
    """
    if bool(names) == every:
        raise click.UsageError("say which workers: IDs or names (see laneway workers list), or --all")
    if wait_timeout is not None and not wait:
        raise click.UsageError("--wait-timeout goes with --wait")
    if every and not yes and not on_terminal():
        raise click.UsageError("there is no terminal to ask on: add --yes to drain them")

    async def work(session: Session) -> int:
        found = await session.client.workers()
        meant = found if every else [worker for name in names for worker in _named(session, found, name)]
        ids = tuple(dict.fromkeys(worker.id for worker in meant))
        if every and ids and not yes and not confirmed(f"drain {len(ids):,} workers of queue {session.target}?"):
            raise Failure(Exit.FAILED, "nothing was changed")
        await each(ids, session.client.drain)
        gone = await _wait(session, ids, wait_timeout) if wait else False
        told = [{"id": worker.id, "name": worker.name} for worker in meant]
        text = "drained and gone" if gone else "draining"
        session.out.write(
            {"workers": told, "gone": gone},
            lambda: click.echo(f"{len(ids):,} {'worker' if len(ids) == 1 else 'workers'} {text}"),
        )
        return Exit.OK

    return on_api(where, work, changes=True)


def _named(session: Session, found: list[WorkerItem], name: str) -> list[WorkerItem]:
    meant = [worker for worker in found if name in (worker.id, worker.name)]
    if not meant:
        import difflib

        near = difflib.get_close_matches(name, [worker.name for worker in found], 1)
        hint = f"did you mean {near[0]!r}?" if near else "see laneway workers list"
        raise Failure(Exit.NOT_FOUND, f"queue {session.name} has no worker {name[:80]!r}; {hint}")
    return meant


async def _wait(session: Session, ids: tuple[str, ...], patience: float | None) -> bool:
    import asyncio
    import time

    deadline = None if patience is None else time.monotonic() + patience
    while True:
        left = {worker.id: worker for worker in await session.client.workers() if worker.id in ids}
        if not left:
            return True
        if deadline is not None and time.monotonic() >= deadline:
            names = ", ".join(sorted(f"{worker.name} ({worker.running} running)" for worker in left.values()))
            raise Failure(Exit.TIMEOUT, f"after {patience:g} s there are still {names}; they go on draining")
        await asyncio.sleep(0.25)
