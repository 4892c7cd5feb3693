"""``laneway dead replay|purge``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from laneway.cli.exits import Exit, Failure
from laneway.cli.filters import Chosen, dead_filters
from laneway.cli.many import Done, confirmed, on_terminal
from laneway.cli.options import yes_option
from laneway.cli.output import progress
from laneway.cli.params import TASK_ID
from laneway.cli.session import Session, on_api
from laneway.cli.where import Where, place_options

#: The most ids, or the largest limit, that one call takes.
_CALL = 1_000
_ENDED = ("succeeded", "dead", "cancelled", "expired")

_F = TypeVar("_F", bound=Callable[..., Any])


def _choice_options(command: _F) -> _F:
    """Options and arguments of the commands that change dead letters."""
    for option in reversed(
        (
            click.argument("ids", type=TASK_ID, nargs=-1, metavar="[ID...]"),
            click.option("--all", "every", is_flag=True, help="All dead letters."),
            click.option("--limit", type=click.IntRange(1), help="The newest so many of those chosen.  [default: all]"),
            dead_filters,
            click.option(
                "--share", type=click.FloatRange(0, 1, min_open=True), default=1.0,
                help="Only so large a part of those chosen, such as 0.1; always the same ones.",
            ),
            click.option("--dry-run", is_flag=True, help="Change nothing; only tell how many it would be."),
            yes_option,
            place_options,
        )
    ):  # fmt: skip
        command = option(command)
    return command


@click.command()
@click.option("--watch", "-w", is_flag=True, help="Wait until those that were queued again have ended, and tell how.")
@_choice_options
def replay(watch: bool, **given: Any) -> int:
    """Queue dead letters again, oldest first, with their attempts counted anew.

    Names tasks by ID (cancelled and expired ones may be named too), or all dead letters with --all, or some
    by --type, --lane, --tenant, --error and the like. With --share, first a part of them: when those did well,
    the same command without it replays the rest.
    Exit code 1 when one of them could not be replayed, or with --watch died again; 3 when none of the IDs is
    known.

    \b
    Examples:
      laneway dead replay 06gmhl2oq4k1u8bn5d3ti98 -q orders
      laneway dead replay -q orders --fingerprint 9f3c2a7be01d4455 --share 0.1 --watch
      laneway dead replay -q orders --type charge --error timeout --limit 100
      laneway dead replay -q orders --all --yes --json
    """
    return _change("replay", "replayed", given, watch)


@click.command()
@_choice_options
def purge(**given: Any) -> int:
    """Forget dead letters for good: their payloads, errors and results.

    Chooses like replay, and asks first. Exit code 1 when one of them could not be forgotten, 3 when none of
    the IDs is known.

    In a queue with Kafka, its topic of dead letters keeps copies, payloads included, for the queue's
    kafka.deadRetention.

    \b
    Examples:
      laneway dead purge 06gmhl2oq4k1u8bn5d3ti98 -q orders
      laneway dead purge -q orders --type charge --ended-to 720h
      laneway dead purge -q orders --all --yes
    """
    return _change("purge", "purged", given, False)


def _change(verb: str, done: str, given: dict[str, Any], watch: bool) -> int:
    """Chooses dead letters, asks, and changes them call by call."""
    chosen: Chosen = given["chosen"]
    ids: tuple[str, ...] = tuple(dict.fromkeys(given["ids"]))
    where: Where = given["where"]
    _check_choice(verb, chosen, ids, given)

    async def work(session: Session) -> int:
        body = _choice(chosen, ids, given["share"])
        whole = None if ids or given["share"] == 1.0 else await _whole(session, verb, body)
        # What a person typed one by one needs no question, unless it can't be undone.
        asks = (verb == "purge" or not ids) and not given["yes"]
        if given["dry_run"] or asks:
            counted = await _count(session, verb, body, ids, given)
            if given["dry_run"]:
                return _tell_count(session, verb, counted, whole, given["share"])
            letters = f"{counted:,} dead letters" if counted != 1 else "1 dead letter"
            letters += _of(whole, given["share"])
            if counted and not confirmed(f"{verb} {letters} of queue {session.target}?"):
                raise Failure(Exit.FAILED, "nothing was changed")
        changed = await _call(session, verb, verb, body, ids, given["limit"], None)
        code = _report(session, done, changed, ids, whole, given["share"])
        return await _watched(session, changed.ids, code) if watch else code

    return on_api(where, work, changes=not given["dry_run"])


def _check_choice(verb: str, chosen: Chosen, ids: tuple[str, ...], given: dict[str, Any]) -> None:
    ways = [bool(ids), given["every"], not chosen.empty]
    if not any(ways):
        raise click.UsageError(
            "say which: IDs, or --all, or some by --type, --lane, --tenant or --error (see laneway dead list)"
        )
    if sum(ways) > 1:
        raise click.UsageError("give IDs, or --all, or filters: one of the three")
    if ids and given["limit"] is not None:
        raise click.UsageError("--limit goes with --all or filters, not with IDs")
    if not given["yes"] and not given["dry_run"] and (verb == "purge" or not ids) and not on_terminal():
        raise click.UsageError(f"there is no terminal to ask on: add --yes to {verb} them")


def _choice(chosen: Chosen, ids: tuple[str, ...], share: float) -> dict[str, Any]:
    """What is meant, as the API takes it (ids are sent by pieces)."""
    if ids:
        return {"share": share}
    return {"share": share, **({"all": True} if chosen.empty else {"filter": chosen.body()})}


async def _count(session: Session, verb: str, body: dict[str, Any], ids: tuple[str, ...], given: dict[str, Any]) -> int:
    """How many it would be."""
    limit: int | None = given["limit"]
    if body.get("all") and body["share"] == 1.0:
        total = (await session.client.dead_page(limit=1)).total
        if total is not None:
            return total if limit is None else min(total, limit)
    found = await _call(session, verb, "counting", {**body, "dryRun": True}, ids, limit, None)
    return found.matched + len(found.refused)


async def _whole(session: Session, verb: str, body: dict[str, Any]) -> int:
    """How many there are of which a share is meant."""
    given: dict[str, Any] = {"limit": None}
    return await _count(session, verb, {**body, "share": 1.0}, (), given)


def _of(whole: int | None, share: float) -> str:
    return "" if whole is None else f" of {whole:,} (a share of {share:g})"


async def _call(
    session: Session,
    verb: str,
    what: str,
    body: dict[str, Any],
    ids: tuple[str, ...],
    limit: int | None,
    total: int | None,
) -> Done:
    """Goes on, call by call, until all that is meant is done."""
    act = session.client.replay if verb == "replay" else session.client.purge
    done = Done()

    async def once(more: dict[str, Any]) -> str | None:
        got = await act({**body, **more})
        done.matched += got.matched
        done.changed += got.replayed if verb == "replay" else got.purged
        done.scanned += got.scanned
        done.ids += got.ids
        done.refused += got.raw.get("refused") or []
        bar.update(bar.task_ids[0], completed=done.matched)
        return got.next

    with progress(total or len(ids) or limit, what) as bar:
        for i in range(0, len(ids), _CALL):
            await once({"ids": list(ids[i : i + _CALL])})
        if ids:
            return done
        cursor: str | None = None
        while True:
            left = None if limit is None else limit - done.matched
            more = {"cursor": cursor} if cursor else {}
            cursor = await once(more | ({"limit": min(_CALL, left)} if left is not None else {}))
            if cursor is None or (limit is not None and done.matched >= limit):
                return done


def _tell_count(session: Session, verb: str, n: int, whole: int | None, share: float) -> int:
    document: dict[str, Any] = {"matched": n, "dryRun": True}
    if whole is not None:
        document |= {"share": share, "of": whole}
    session.out.write(document, lambda: click.echo(f"would {verb} {n:,}{_of(whole, share)}"))
    return Exit.OK


def _report(session: Session, done: str, changed: Done, ids: tuple[str, ...], whole: int | None, share: float) -> int:
    refused = changed.refused
    # (those that a call refuses at once are not among those that it matched)
    chosen = len(ids) or changed.matched
    document: dict[str, Any] = {"chosen": chosen, done: changed.changed, "refused": refused}
    if whole is not None:
        document |= {"share": share, "of": whole}

    def draw() -> None:
        click.echo(f"{done} {changed.changed:,}{_of(whole, share) or f' of {chosen:,}'}")
        for each in refused[:20]:
            click.echo(f"laneway dead: {each['id']} was not {done}: {_reason(each['why'])}", err=True)

    session.out.write(document, draw)
    if not refused:
        return Exit.OK
    if ids and len(refused) == len(ids) and all(each["why"] == "unknown" for each in refused):
        return Exit.NOT_FOUND
    return Exit.FAILED


def _reason(code: str) -> str:
    if code == "unknown":
        return "there is no such task"
    return "its lane was removed" if code == "lane removed" else f"it is {code}"


async def _watched(session: Session, ids: list[str], code: int) -> int:
    """Follows tasks until they have ended, and tells how; those that died again make it a failure."""
    import asyncio
    from collections import Counter

    ends: Counter[str] = Counter()
    left = list(ids)
    with progress(len(ids), "ended") as bar:
        while left:
            waiting: list[str] = []
            for i in range(0, len(left), _CALL):
                states = await session.client.states(left[i : i + _CALL])
                for id, state in states.items():
                    if state is None or state in _ENDED:
                        ends[state or "no longer kept"] += 1
                    else:
                        waiting.append(id)
            left = waiting
            bar.update(bar.task_ids[0], completed=len(ids) - len(left))
            if left:
                await asyncio.sleep(0.5)
    told = ", ".join(f"{state} {n:,}" for state, n in ends.most_common()) or "none"
    session.out.write({"ended": dict(ends)}, lambda: click.echo(f"of those that were queued again: {told}"))
    return Exit.FAILED if ends["dead"] or ends["expired"] or ends["cancelled"] else code
