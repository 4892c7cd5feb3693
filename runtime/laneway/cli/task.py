"""``laneway task show|cancel|wait``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from laneway.cli.exits import Exit, Failure
from laneway.cli.groups import CommandGroup
from laneway.cli.options import json_option, queue_options
from laneway.cli.output import print_json, print_table
from laneway.cli.params import SECONDS, TASK_ID
from laneway.cli.target import Target, on_queue, reading, resolve
from laneway.cli.task_panel import print_task

if TYPE_CHECKING:
    from laneway.gateway.bodies import TaskAnswer
    from laneway.model.config import QueueConfig
    from laneway.ports.store import TaskStore, TaskView

#: How many ids one script call takes.
PAGE = 100
#: How long one wait lasts before it begins anew, in seconds, when the whole has no end.
_WAIT = 3600.0


@click.group(cls=CommandGroup)
def task() -> None:
    """Look at single tasks, cancel them, or wait for them.

    \b
    Examples:
      laneway task show 06gmhl2oq4k1u8bn5d3ti98 -q orders
      laneway task wait 06gmhl2oq4k1u8bn5d3ti98 -q orders --timeout 30s
    """


@task.command()
@click.argument("id", type=TASK_ID)
@queue_options
@json_option
def show(id: bytes, redis: str | None, queue: str | None, namespace: str | None, cluster: bool, as_json: bool) -> int:
    """Show all that is known of a task: state, attempts, payload, errors with tracebacks, result.

    \b
    Examples:
      laneway task show 06gmhl2oq4k1u8bn5d3ti98 -q orders
      laneway task show 06gmhl2oq4k1u8bn5d3ti98 -q orders --json
    """
    target = resolve(redis, queue, namespace, cluster)

    async def work(store: TaskStore, config: QueueConfig) -> int:
        show_answer(await known(store, config, target, id), as_json)
        return Exit.OK

    return on_queue(target, work)


@task.command()
@click.argument("ids", type=TASK_ID, nargs=-1, required=True, metavar="ID...")
@queue_options
@json_option
def cancel(
    ids: tuple[bytes, ...],
    redis: str | None,
    queue: str | None,
    namespace: str | None,
    cluster: bool,
    as_json: bool,
) -> int:
    """Cancel tasks. One that runs is asked to stop, and its worker confirms.

    Exit code 3 when one of them is unknown, 1 when one has ended otherwise.

    \b
    Examples:
      laneway task cancel 06gmhl2oq4k1u8bn5d3ti98 -q orders
    """
    from laneway.kit.ids import id_text

    async def work(store: TaskStore, config: QueueConfig) -> int:
        codes: list[str] = []
        for i in range(0, len(ids), PAGE):
            codes += await store.cancel(ids[i : i + PAGE])
        found = [(id_text(id), code) for id, code in zip(ids, codes, strict=True)]
        if as_json:
            print_json({"tasks": [{"id": id, "outcome": code} for id, code in found]})
        else:
            print_table(["task", "outcome"], found)
        if "unknown" in codes:
            return Exit.NOT_FOUND
        return Exit.FAILED if "ended" in codes else Exit.OK

    return on_queue(resolve(redis, queue, namespace, cluster), work)


@task.command()
@click.argument("id", type=TASK_ID)
@click.option("--timeout", type=SECONDS, help="Wait so long at most.  [default: without end]")
@queue_options
@json_option
def wait(
    id: bytes,
    timeout: float | None,
    redis: str | None,
    queue: str | None,
    namespace: str | None,
    cluster: bool,
    as_json: bool,
) -> int:
    """Wait until a task has ended, and show it.

    Exit code 0 when it succeeded, 1 when it ended otherwise, 7 when it has not ended in time.

    \b
    Examples:
      laneway task wait 06gmhl2oq4k1u8bn5d3ti98 -q orders --timeout 30s
    """  # fmt: skip
    target = resolve(redis, queue, namespace, cluster)

    async def work(store: TaskStore, config: QueueConfig) -> int:
        return await wait_and_show(store, config, target, id, timeout, as_json)

    return on_queue(target, work)


async def known(store: TaskStore, config: QueueConfig, target: Target, id: bytes) -> TaskAnswer:
    """A task as it is shown. Raises Failure (3) when there is none with this id."""
    from laneway.gateway.views import task_answer

    (view,) = await reading(store.get([id]))
    if view is None:
        raise unknown_task(target, id)
    return task_answer(target.queue, config, view)


def unknown_task(target: Target, id: bytes) -> Failure:
    """There is no such task (exit code 3)."""
    from laneway.kit.ids import id_text

    return Failure(
        Exit.NOT_FOUND,
        f"queue {target.name} has no task {id_text(id)}: it never had, or keeps it no longer; is -q right?",
    )


async def wait_and_show(
    store: TaskStore, config: QueueConfig, target: Target, id: bytes, patience: float | None, as_json: bool
) -> int:
    """Waits for a task's end and shows it. Returns the exit code that its end means.

    Raises:
        Failure: there is no such task (3), or it has not ended in time (7).
    """
    from laneway.gateway.views import task_answer

    await known(store, config, target, id)
    view = await _ended(store, id, patience)
    if view is None:
        state = (await known(store, config, target, id)).state
        raise Failure(Exit.TIMEOUT, f"the task is {state} after {patience:g} s, and goes on")
    answer = task_answer(target.queue, config, view)
    show_answer(answer, as_json)
    return Exit.OK if answer.state == "succeeded" else Exit.FAILED


async def _ended(store: TaskStore, id: bytes, patience: float | None) -> TaskView | None:
    """The task once it has ended; None when it has not in time, or is forgotten."""
    deadline = None if patience is None else time.monotonic() + patience
    while True:
        left = _WAIT if deadline is None else min(_WAIT, deadline - time.monotonic())
        view = await reading(store.wait_ended(id, max(0.0, left)))
        if view is not None or (deadline is not None and time.monotonic() >= deadline):
            return view
        (there,) = await reading(store.get([id]))
        if there is None:
            return None


def show_answer(answer: TaskAnswer, as_json: bool) -> None:
    """Writes a task to standard output."""
    if as_json:
        print_json(answer)
    else:
        print_task(answer)
