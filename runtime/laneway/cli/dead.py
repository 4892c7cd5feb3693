"""``laneway dead list|show|replay|purge``: the dead letters."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from laneway.cli.dead_filter import Filter, dead_ids, dead_views
from laneway.cli.exits import Exit, Failure
from laneway.cli.groups import CommandGroup
from laneway.cli.options import json_option, queue_options, yes_option
from laneway.cli.output import ago, print_json, print_table, progress
from laneway.cli.params import TASK_BYTES, TASK_ID
from laneway.cli.session import Session, on_api
from laneway.cli.target import Target, interruptible, on_queue, reading, resolve
from laneway.cli.task import known, show_answer
from laneway.cli.where import Where, place_options
from laneway.model.states import State

if TYPE_CHECKING:
    from laneway.gateway.bodies import TaskAnswer
    from laneway.model.config import QueueConfig
    from laneway.ports.store import TaskStore

#: How many tasks one script call replays or forgets: some milliseconds at most.
BATCH = 50

_F = TypeVar("_F", bound=Callable[..., Any])

_FILTERS = (
    click.option("--type", help="Only of this type."),
    click.option("--lane", help="Only of this lane."),
    click.option("--tenant", help="Only of this tenant ('' is that of tasks that name none)."),
    click.option("--error", metavar="TEXT", help="Only with this text in an error, in upper or lower case."),
)


def filter_options(command: _F) -> _F:
    """The options that choose dead letters."""
    for option in reversed(_FILTERS):
        command = option(command)
    return command


@click.group(cls=CommandGroup)
def dead() -> None:
    """Look at dead letters, queue them again, or forget them.

    \b
    Examples:
      laneway dead list -q orders --type charge
      laneway dead replay -q orders --type charge
    """


@dead.command("list")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="The newest so many.")
@filter_options
@queue_options
@json_option
def list_(
    limit: int,
    type: str | None,
    lane: str | None,
    tenant: str | None,
    error: str | None,
    redis: str | None,
    queue: str | None,
    namespace: str | None,
    cluster: bool,
    as_json: bool,
) -> int:
    """List dead letters, newest first.

    \b
    Examples:
      laneway dead list -q orders
      laneway dead list -q orders --type charge --error timeout --limit 10 --json
    """  # fmt: skip
    target, chosen = resolve(redis, queue, namespace, cluster), Filter(type, lane, tenant, error)

    async def work(store: TaskStore, config: QueueConfig) -> int:
        from laneway.gateway.views import task_answer

        found: list[TaskAnswer] = []
        async for view in dead_views(store, config, chosen):
            found.append(task_answer(target.queue, config, view))
            if len(found) == limit:
                break
        total = (await reading(store.stats())).counts["dead"]
        if as_json:
            print_json({"dead": total, "tasks": found})
        elif not found:
            click.echo("no dead letters" if total == 0 else f"none of {total:,} dead letters is like that")
        else:
            print_table(["task", "type", "lane", "attempts", "died", "last error"], [_row(task) for task in found])
            if len(found) < total:
                click.echo(f"{len(found):,} of {total:,} dead letters", err=True)
        return Exit.OK

    return on_queue(target, work)


def _row(task: TaskAnswer) -> tuple[object, ...]:
    last = task.errors[-1] if task.errors else None
    message = " ".join(f"{last.kind}: {last.message}".split()) if last else ""
    shown = message if len(message) <= 80 else message[:77] + "..."
    return task.id, task.type, task.lane, task.attempts, ago(task.state_since), shown


@dead.command()
@click.argument("id", type=TASK_ID)
@place_options
def show(id: str, where: Where) -> int:
    """Show one dead letter with the error of each attempt.

    \b
    Examples:
      laneway dead show 06gmhl2oq4k1u8bn5d3ti98 -q orders
    """

    async def work(session: Session) -> int:
        answer = await known(session, id)
        if answer.state != State.DEAD.label:
            raise Failure(
                Exit.NOT_FOUND,
                f"task {answer.id} is no dead letter, it is {answer.state}: see laneway task show",
            )
        show_answer(session, answer)
        return Exit.OK

    return on_api(where, work)


def _choice_options(command: _F) -> _F:
    """Options and arguments of the commands that change dead letters."""
    for option in reversed(
        (
            click.argument("ids", type=TASK_BYTES, nargs=-1, metavar="[ID...]"),
            click.option("--all", "every", is_flag=True, help="All dead letters."),
            click.option("--limit", type=click.IntRange(1), help="The newest so many of those chosen.  [default: all]"),
            filter_options,
            yes_option,
            queue_options,
            json_option,
        )
    ):
        command = option(command)
    return command


@dead.command()
@_choice_options
def replay(**given: Any) -> int:
    """Queue dead letters again, oldest first, with their attempts counted anew.

    Names tasks by ID (cancelled and expired ones may be named too), or all dead letters with --all, or some
    by --type, --lane, --tenant and --error.
    Exit code 1 when one of them could not be replayed, 3 when none of the IDs is known.

    \b
    Examples:
      laneway dead replay 06gmhl2oq4k1u8bn5d3ti98 -q orders
      laneway dead replay -q orders --type charge --error timeout --limit 100
      laneway dead replay -q orders --all --yes --json
    """
    return _change("replay", "replayed", _replay, given)


@dead.command()
@_choice_options
def purge(**given: Any) -> int:
    """Forget dead letters for good: their payloads, errors and results.

    Chooses like replay, and asks first. Exit code 1 when one of them could not be forgotten, 3 when none of
    the IDs is known.

    \b
    Examples:
      laneway dead purge 06gmhl2oq4k1u8bn5d3ti98 -q orders
      laneway dead purge -q orders --type charge
      laneway dead purge -q orders --all --yes
    """
    return _change("purge", "purged", _purge, given)


async def _replay(store: TaskStore, ids: Sequence[bytes]) -> list[str]:
    """Per task "", or why it was not replayed. (The script answers alike for a task that waits already.)"""
    codes = await _unless(store, ids, State.DEAD, State.CANCELLED, State.EXPIRED)
    ready = [i for i, code in enumerate(codes) if not code]
    for i, code in zip(ready, await store.replay([ids[i] for i in ready]), strict=True):
        codes[i] = "" if code == "queued" else code
    return codes


async def _purge(store: TaskStore, ids: Sequence[bytes]) -> list[str]:
    """Per task "", or why it was not forgotten. (The script would forget any ended task.)"""
    codes = await _unless(store, ids, State.DEAD)
    await store.purge([id for id, code in zip(ids, codes, strict=True) if not code])
    return codes


async def _unless(store: TaskStore, ids: Sequence[bytes], *states: State) -> list[str]:
    """Per task "" when it is in one of the states, else its state, or unknown."""
    views = await reading(store.get(ids))
    return ["unknown" if v is None else "" if v.state in states else v.state.label for v in views]


def _change(
    verb: str,
    done: str,
    act: Callable[[TaskStore, Sequence[bytes]], Awaitable[list[str]]],
    given: dict[str, Any],
) -> int:
    """Chooses dead letters, asks, and does ``act`` to them by batches."""
    chosen = Filter(given["type"], given["lane"], given["tenant"], given["error"])
    ids: tuple[bytes, ...] = tuple(dict.fromkeys(given["ids"]))
    _check_choice(verb, chosen, ids, given)
    target = resolve(given["redis"], given["queue"], given["namespace"], given["cluster"])

    async def work(store: TaskStore, config: QueueConfig) -> int:
        picked = list(ids) if ids else await _pick(store, config, chosen, given["limit"])
        # What a person typed one by one needs no question, unless it can't be undone.
        asks = verb == "purge" or not ids
        if picked and asks and not given["yes"] and not _confirmed(verb, len(picked), target):
            raise Failure(Exit.FAILED, "nothing was changed")
        refused: list[tuple[bytes, str]] = []
        with progress(len(picked), verb) as bar:
            for i in range(0, len(picked), BATCH):
                batch = picked[i : i + BATCH]
                refused += [(id, code) for id, code in zip(batch, await act(store, batch), strict=True) if code]
                bar.update(bar.task_ids[0], advance=len(batch))
        return _report(done, len(picked), refused, bool(ids), given["as_json"])

    return on_queue(target, work)


def _check_choice(verb: str, chosen: Filter, ids: tuple[bytes, ...], given: dict[str, Any]) -> None:
    ways = [bool(ids), given["every"], not chosen.empty]
    if not any(ways):
        raise click.UsageError(
            "say which: IDs, or --all, or some by --type, --lane, --tenant or --error (see laneway dead list)"
        )
    if sum(ways) > 1:
        raise click.UsageError("give IDs, or --all, or filters: one of the three")
    if ids and given["limit"] is not None:
        raise click.UsageError("--limit goes with --all or filters, not with IDs")
    if not given["yes"] and (verb == "purge" or not ids) and not on_terminal():
        raise click.UsageError(f"there is no terminal to ask on: add --yes to {verb} them")


async def _pick(store: TaskStore, config: QueueConfig, chosen: Filter, limit: int | None) -> list[bytes]:
    """The ids meant, oldest first, so that they come back in the order in which they died."""
    picked: list[bytes] = []
    if chosen.empty:
        async for ids in dead_ids(store):
            picked += ids
            if limit is not None and len(picked) >= limit:
                break
    else:
        async for view in dead_views(store, config, chosen):
            picked.append(view.id)
            if len(picked) == limit:
                break
    return picked[:limit][::-1]


def on_terminal() -> bool:
    """Whether there is somebody to ask."""
    return sys.stdin.isatty()


def _confirmed(verb: str, n: int, target: Target) -> bool:
    letters = f"{n:,} dead letters" if n != 1 else "1 dead letter"
    with interruptible():
        return click.confirm(f"{verb} {letters} of queue {target.name}?", err=True)


def _report(done: str, n: int, refused: list[tuple[bytes, str]], by_id: bool, as_json: bool) -> int:
    from laneway.kit.ids import id_text

    if as_json:
        print_json(
            {
                "chosen": n,
                done: n - len(refused),
                "refused": [{"id": id_text(id), "why": code} for id, code in refused],
            }
        )
    else:
        click.echo(f"{done} {n - len(refused):,} of {n:,}")
        for id, code in refused[:20]:
            click.echo(f"laneway dead: {id_text(id)} was not {done}: {_reason(code)}", err=True)
    if not refused:
        return Exit.OK
    if by_id and len(refused) == n and all(code == "unknown" for _, code in refused):
        return Exit.NOT_FOUND
    return Exit.FAILED


def _reason(code: str) -> str:
    if code == "unknown":
        return "there is no such task"
    return "its lane was removed" if code == "lane removed" else f"it is {code}"
