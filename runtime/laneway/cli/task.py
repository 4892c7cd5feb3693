"""``laneway task``: single tasks, and lists of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from laneway.cli.exits import Exit, Failure
from laneway.cli.groups import CommandGroup
from laneway.cli.output import clock, safe
from laneway.cli.params import SECONDS, TASK_ID
from laneway.cli.session import Session, on_api
from laneway.cli.task_change import cancel, retry, revise
from laneway.cli.task_list import list_
from laneway.cli.task_panel import print_task
from laneway.cli.where import Where, place_options
from laneway.errors import ResultTimeout, UnknownTask

if TYPE_CHECKING:
    from laneway.client.http_answers import LogLine, TaskDetail


@click.group(cls=CommandGroup)
def task() -> None:
    """Find tasks, look at them, change them, or wait for them.

    \b
    Examples:
      laneway task list -q orders --state running
      laneway task show 06gmhl2oq4k1u8bn5d3ti98 -q orders
      laneway task wait 06gmhl2oq4k1u8bn5d3ti98 -q orders --timeout 30s
    """


@task.command()
@click.argument("id", type=TASK_ID)
@place_options
def show(id: str, where: Where) -> int:
    """Show all that is known of a task: state, history, attempts, payload, errors with tracebacks, result.

    \b
    Examples:
      laneway task show 06gmhl2oq4k1u8bn5d3ti98 -q orders
      laneway task show 06gmhl2oq4k1u8bn5d3ti98 -q orders --json
    """

    async def work(session: Session) -> int:
        show_answer(session, await known(session, id))
        return Exit.OK

    return on_api(where, work)


@task.command()
@click.argument("id", type=TASK_ID)
@click.option("--follow", "-f", is_flag=True, help="Go on until the task has ended.")
@place_options
def logs(id: str, follow: bool, where: Where) -> int:
    """Show the lines that a task's handler logged with ctx.log.

    \b
    Examples:
      laneway task logs 06gmhl2oq4k1u8bn5d3ti98 -q orders
      laneway task logs 06gmhl2oq4k1u8bn5d3ti98 -q orders --follow
    """  # fmt: skip

    async def work(session: Session) -> int:
        after, told = 0, False
        while True:
            try:
                state = (await session.client.task(id)).state if follow else ""
                found = await session.client.logs(id, after)
            except UnknownTask as error:
                raise unknown_task(session, id) from error
            if found.truncated and not told:
                click.echo("laneway task logs: older lines gave way to newer ones", err=True)
            told = told or found.truncated
            for line in found.lines:
                click.echo(_log_line(line)) if session.out.for_people else session.out.data(line.raw)
            after = found.next or after
            if not follow or (state in _ENDED and not found.lines):
                return Exit.OK
            if not found.lines:
                await _pause()

    return on_api(where, work)


_ENDED = ("succeeded", "dead", "cancelled", "expired")


async def _pause() -> None:
    import asyncio

    await asyncio.sleep(0.5)


def _log_line(line: LogLine) -> str:
    level = f" {line.level.upper():<7}" if line.level else ""
    return safe(f"{clock(line.at)} [{line.attempt}]{level} {line.message}")


@task.command()
@click.argument("id", type=TASK_ID)
@click.option("--timeout", type=SECONDS, help="Wait so long at most.  [default: without end]")
@place_options
def wait(id: str, timeout: float | None, where: Where) -> int:
    """Wait until a task has ended, and show it.

    Exit code 0 when it succeeded, 1 when it ended otherwise, 7 when it has not ended in time.

    \b
    Examples:
      laneway task wait 06gmhl2oq4k1u8bn5d3ti98 -q orders --timeout 30s
    """  # fmt: skip

    async def work(session: Session) -> int:
        return await wait_and_show(session, id, timeout)

    return on_api(where, work)


for _command in (list_, cancel, retry, revise):
    task.add_command(_command)


async def known(session: Session, id: str) -> TaskDetail:
    """A task as it is shown. Raises Failure (3) when there is none with this id."""
    try:
        return await session.client.task(id)
    except UnknownTask as error:
        raise unknown_task(session, id) from error


def unknown_task(session: Session, id: str) -> Failure:
    """There is no such task (exit code 3)."""
    return Failure(
        Exit.NOT_FOUND, f"queue {session.name} has no task {id}: it never had, or keeps it no longer; is -q right?"
    )


async def wait_and_show(session: Session, id: str, patience: float | None) -> int:
    """Waits for a task's end and shows it. Returns the exit code that its end means.

    Raises:
        Failure: there is no such task (3), or it has not ended in time (7).
    """
    try:
        await session.client.outcome(id, patience)
    except UnknownTask as error:
        raise unknown_task(session, id) from error
    except ResultTimeout:
        state = (await known(session, id)).state
        raise Failure(Exit.TIMEOUT, f"the task is {state} after {patience:g} s, and goes on") from None
    answer = await known(session, id)
    show_answer(session, answer)
    return Exit.OK if answer.state == "succeeded" else Exit.FAILED


def show_answer(session: Session, answer: TaskDetail) -> None:
    """Writes a task to standard output."""
    session.out.write(answer.raw, lambda: print_task(answer))
