"""The scripts of notes, failed at each of their calls: what is repeated is there once, what is not is there whole or
not at all, and the task itself never suffers."""

from __future__ import annotations

import pytest
from redis.exceptions import ResponseError
from tests.contract.stores import RedisBench, census
from tests.contract.test_script_faults import FaultyLoader, Ground, faults, go_on

from laneway.model.config import LaneConfig
from laneway.model.notes import NOTHING, LogLine, Note, Progress, TaskType
from laneway.model.settlement import Kind

__all__ = ["faults"]

_LANES = (LaneConfig(n=1, name="high", drate=1e6, dburst=1e6), LaneConfig(n=2, name="default"))
_MOST_CALLS = 60


async def _armed(bench: RedisBench, loader: FaultyLoader, name: str, call: int) -> None:
    await bench.store._client.hset(bench.store.keys.key("meta"), "test_fault", call)
    loader.armed = name


async def _fresh(bench: RedisBench) -> Ground:
    await bench.store._client.flushall()
    await bench.told_time()
    await bench.configure(lanes=_LANES)
    return Ground(bench)


def _line(text: str) -> LogLine:
    return LogLine(1, 1, "info", text)


@pytest.mark.parametrize("again", [True, False], ids=["the caller repeats it", "the caller never comes back"])
async def test_a_note_that_fails_at_any_call_is_there_once_or_not_at_all(
    faults: tuple[FaultyLoader, RedisBench], again: bool
) -> None:
    loader, bench = faults
    for call in range(1, _MOST_CALLS):
        g = await _fresh(bench)
        inc, tasks = await g.running(2)
        old = ["x" * 900 + str(n) for n in range(40)]
        for number, text in enumerate(old, 1):  # so many that slots are full and the oldest go
            await g.store.notes.note(inc, [Note(tasks[0].id, tasks[0].fence, number, lines=[_line(text)])])
        await g.store.notes.note(inc, [Note(tasks[1].id, tasks[1].fence, 1, checkpoint=b"\x01")])
        notes = [
            Note(
                tasks[0].id, tasks[0].fence, 41, progress=Progress(0.5, "half"), checkpoint=b"\x05",
                lines=[_line("y" * 3000), _line("last")],
            ),
            Note(tasks[1].id, tasks[1].fence, 2, checkpoint=NOTHING, lines=[_line("other")]),
        ]  # fmt: skip
        await _armed(bench, loader, "note", call)
        failed = False
        try:
            await g.store.notes.note(inc, notes)
        except ResponseError as fault:
            assert "a fault made by a test" in str(fault)
            failed = True
        loader.armed = None
        if failed and again:
            assert await g.store.notes.note(inc, notes) == [True, True]
        ids = [task.id for task in tasks]
        told = await g.store.notes.told(ids)
        saved = await g.store.notes.saved(ids)
        texts = [[line.message for line in (await g.store.notes.logs(id)).lines] for id in ids]
        first, second = (texts[0][-1] == "last"), (texts[1] == ["other"])
        if again or not failed:
            assert first and second, f"failed at call {call}"
        assert texts[0].count("last") <= 1 and texts[0].count(old[-1]) == 1
        assert [saved[0] and saved[0].data, bool(told[0] and told[0].progress)] == (
            [b"\x05", True] if first else [None, False]
        )
        assert (saved[1] is None) is second
        done = await go_on(g)
        assert done == set(ids), f"failed at call {call}"
        assert await census(g.store) == [], f"failed at call {call}"
        assert await g.store.purge(ids) == 2
        left = await g.store._client.hkeys(g.store.keys.key("notes"))
        assert left == [], f"failed at call {call}: {left}"
        if not failed:
            break
    else:
        raise AssertionError("the script makes more calls than were tried")


async def test_a_purge_that_fails_at_any_call_leaves_no_notes_once_it_is_repeated(
    faults: tuple[FaultyLoader, RedisBench],
) -> None:
    loader, bench = faults
    for call in range(1, _MOST_CALLS):
        g = await _fresh(bench)
        inc, tasks = await g.running(3)
        for task in tasks[:2]:
            note = Note(task.id, task.fence, 1, Progress(0.1), b"\x05", [_line("z" * 3000)])
            assert await g.store.notes.note(inc, [note]) == [True]
        for task in tasks:
            await bench.settle(inc, task, Kind.DEAD)
        await _armed(bench, loader, "purge", call)
        failed = False
        try:
            await g.store.purge([task.id for task in tasks])
        except ResponseError:
            failed = True
        loader.armed = None
        await g.store.purge([tasks[0].id])
        await g.store.purge([task.id for task in tasks])
        assert await g.store._client.hkeys(g.store.keys.key("notes")) == [], f"failed at call {call}"
        assert await census(g.store) == [], f"failed at call {call}"
        if not failed:
            break
    else:
        raise AssertionError("the script makes more calls than were tried")


@pytest.mark.parametrize("again", [True, False], ids=["the caller repeats it", "the caller never comes back"])
async def test_forgetting_checkpoints_that_fails_at_any_call_harms_no_task(
    faults: tuple[FaultyLoader, RedisBench], again: bool
) -> None:
    loader, bench = faults
    for call in range(1, _MOST_CALLS):
        g = await _fresh(bench)
        inc, tasks = await g.running(3)
        ids = [task.id for task in tasks]
        for task in tasks:
            assert await g.store.notes.note(inc, [Note(task.id, task.fence, 1, checkpoint=b"x" * 500)]) == [True]
        await bench.settle(inc, tasks[0], Kind.COMPLETE)
        await bench.settle(inc, tasks[1], Kind.DEAD)
        await _armed(bench, loader, "unsave", call)
        failed = False
        try:
            await g.store.notes.unsave(ids)
        except ResponseError:
            failed = True
        loader.armed = None
        if failed and again:
            assert await g.store.notes.unsave(ids) == [True, True, False]
        if not failed or again:
            assert [bool(saved) for saved in await g.store.notes.saved(ids)] == [False, False, True]
        assert ids[2] in await go_on(g)
        assert await census(g.store, sizes=not failed) == [], f"failed at call {call}"
        await g.store.purge(ids)
        assert await g.store._client.hkeys(g.store.keys.key("notes")) == [], f"failed at call {call}"
        if not failed:
            break
    else:
        raise AssertionError("the script makes more calls than were tried")


async def test_an_announcement_that_fails_at_any_call_is_whole_once_it_is_repeated(
    faults: tuple[FaultyLoader, RedisBench],
) -> None:
    loader, bench = faults
    types = [TaskType("send", {"type": "object"})]
    for call in range(1, _MOST_CALLS):
        g = await _fresh(bench)
        await g.store.notes.announce("old", [TaskType("old", {})])
        await bench.advance(90_000_000)
        await _armed(bench, loader, "announce", call)
        failed = False
        try:
            await g.store.notes.announce("new", types)
        except ResponseError:
            failed = True
        loader.armed = None
        await g.store.notes.types()  # it can be read whatever is left
        await g.store.notes.announce("new", types)
        assert await g.store.notes.types() == types, f"failed at call {call}"
        if not failed:
            break
    else:
        raise AssertionError("the script makes more calls than were tried")
