"""What handlers tell of themselves: progress, checkpoints, log lines, guarded by holder and fence; and task types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from tests.contract.stores import Bench, RedisBench, error

from laneway.kit.ids import new_task_id
from laneway.model.config import Keep, Kept
from laneway.model.notes import (
    BYTES_KEPT,
    LINES_KEPT,
    NOTED,
    NOTHING,
    LogLine,
    Note,
    Progress,
    TaskType,
)
from laneway.model.settlement import Kind, Settlement
from laneway.ports.store import Claimed

DATA = msgspec.msgpack.encode({"page": 7})


def lines(*messages: str, attempt: int = 1, at: int = 5) -> list[LogLine]:
    return [LogLine(at, attempt, "info", message) for message in messages]


async def running(bench: Bench, **fields: Any) -> tuple[bytes, Claimed]:
    await bench.submit(**fields)
    inc = await bench.worker()
    (task,) = await bench.claim(inc)
    return inc, task


async def note(bench: Bench, inc: bytes, task: Claimed, number: int = 1, **fields: Any) -> bool:
    (taken,) = await bench.store.notes.note(inc, [Note(task.id, task.fence, number, **fields)])
    return taken


async def messages(bench: Bench, id: bytes, after: int = 0) -> list[str]:
    return [line.message for line in (await bench.store.notes.logs(id, after)).lines]


async def saved(bench: Bench, id: bytes) -> bytes | None:
    (found,) = await bench.store.notes.saved([id])
    return found.data if found else None


async def test_progress_a_checkpoint_and_lines_are_read_back_with_attempt_and_time(any_bench: Bench) -> None:
    bench = any_bench
    inc, task = await running(bench)
    now = bench.clock.now_ms()
    assert await note(
        bench, inc, task, progress=Progress(0.25, "a quarter, „so far“"), checkpoint=DATA, lines=lines("one", "two")
    )
    (progress,) = await bench.store.notes.progress([task.id])
    assert progress == Progress(0.25, "a quarter, „so far“", now, 1)
    (kept,) = await bench.store.notes.saved([task.id])
    assert kept is not None and (kept.data, kept.attempt, kept.at) == (DATA, 1, now)
    page = await bench.store.notes.logs(task.id)
    assert page.lines == [LogLine(5, 1, "info", "one", 1), LogLine(5, 1, "info", "two", 2)]
    assert (page.next, page.truncated) == (2, False)
    (told,) = await bench.store.notes.told([task.id])
    assert told is not None and (told.progress, told.lines, told.saved_bytes) == (progress, 2, len(DATA))


async def test_of_a_task_that_told_nothing_and_of_an_unknown_one_there_is_nothing(bench: Bench) -> None:
    _, task = await running(bench)
    ids = [task.id, new_task_id()]
    assert await bench.store.notes.saved(ids) == await bench.store.notes.progress(ids) == [None, None]
    assert await bench.store.notes.told(ids) == [None, None]
    page = await bench.store.notes.logs(ids[1], 3)
    assert (page.lines, page.next, page.truncated) == ([], 3, False)


async def test_a_later_value_wins_and_what_is_left_out_stays(bench: Bench) -> None:
    inc, task = await running(bench)
    await note(bench, inc, task, 1, progress=Progress(0.1), checkpoint=DATA)
    await note(bench, inc, task, 2, progress=Progress(1.0, "done"))
    assert await saved(bench, task.id) == DATA
    await note(bench, inc, task, 3, checkpoint=b"\x07")
    (progress,) = await bench.store.notes.progress([task.id])
    assert progress is not None and (progress.fraction, progress.message) == (1.0, "done")
    assert await saved(bench, task.id) == b"\x07"
    await note(bench, inc, task, 4, checkpoint=NOTHING)
    assert await saved(bench, task.id) is None


async def test_a_note_told_twice_is_taken_once(bench: Bench) -> None:
    inc, task = await running(bench)
    for number in (1, 1, 2, 1, 2):
        assert await note(bench, inc, task, number, lines=lines(f"line {number}"))
    assert await messages(bench, task.id) == ["line 1", "line 2"]


@pytest.mark.parametrize("who", ["another worker", "an earlier attempt", "an ended attempt", "an unknown task"])
async def test_a_note_of_who_does_not_hold_the_task_is_refused_and_changes_nothing(bench: Bench, who: str) -> None:
    inc, task = await running(bench)
    await note(bench, inc, task, checkpoint=DATA)
    late = Note(task.id, task.fence, 2, progress=Progress(0.9), checkpoint=b"\x01", lines=lines("late"))
    if who == "another worker":
        inc = await bench.worker(name="other")
    elif who == "an earlier attempt":
        await bench.settle(inc, task, Kind.RELEASE)
        (again,) = await bench.claim(inc)
        assert again.fence > task.fence
    elif who == "an ended attempt":
        await bench.settle(inc, task, Kind.COMPLETE)
    else:
        late.id = new_task_id()
    assert await bench.store.notes.note(inc, [late]) == [False]
    assert await saved(bench, task.id) == DATA
    assert await bench.store.notes.progress([task.id]) == [None]
    assert await messages(bench, task.id) == []


async def test_in_one_call_each_note_is_taken_or_refused_by_itself(bench: Bench) -> None:
    ids = await bench.submit_many(3)
    inc = await bench.worker()
    tasks = await bench.claim(inc, 3)
    await bench.settle(inc, tasks[1], Kind.COMPLETE)
    notes = [Note(task.id, task.fence, 1, lines=lines("here")) for task in tasks]
    assert await bench.store.notes.note(inc, notes) == [True, False, True]
    assert [await messages(bench, id) for id in ids] == [["here"], [], ["here"]]


@pytest.mark.parametrize("kind", [Kind.RETRY, Kind.SNOOZE, Kind.RELEASE])
async def test_the_next_attempt_is_told_that_there_are_notes_and_both_attempts_lines_are_kept(
    bench: Bench, kind: Kind
) -> None:
    inc, task = await running(bench)
    assert not task.flags & NOTED
    await note(bench, inc, task, checkpoint=DATA, lines=lines("first"))
    await bench.settle(inc, task, kind, delay_ms=10.0)
    await bench.advance(20)
    await bench.store.promote(10)
    (again,) = await bench.claim(inc)
    assert again.id == task.id and again.flags & NOTED
    assert await saved(bench, task.id) == DATA
    await note(bench, inc, again, lines=lines("second", attempt=2))
    page = await bench.store.notes.logs(task.id)
    assert [(line.n, line.attempt, line.message) for line in page.lines] == [(1, 1, "first"), (2, 2, "second")]
    await bench.settle(inc, again, Kind.COMPLETE, data=b"\x01")
    assert await messages(bench, task.id) == ["first", "second"]


async def test_a_task_without_notes_is_not_flagged_however_often_it_is_tried(bench: Bench) -> None:
    inc, task = await running(bench, max_attempts=9, tenant="acme", key="k")
    for kind in (Kind.RETRY, Kind.RELEASE, Kind.SNOOZE):
        assert not task.flags & NOTED
        await bench.settle(inc, task, kind, data=error())
        await bench.store.promote(10)
        (task,) = await bench.claim(inc)
    assert not task.flags & NOTED


async def test_a_repeated_claim_and_a_claim_after_a_crash_tell_of_notes_too(bench: Bench) -> None:
    inc, task = await running(bench)
    await note(bench, inc, task, checkpoint=DATA)
    turn = await bench.store.turn(inc, bench.request, 1, [])
    assert [each.flags & NOTED for each in turn.tasks] == [NOTED]
    await bench.reap_after_grace()
    other = await bench.worker(name="other")
    (again,) = await bench.claim(other)
    assert again.id == task.id and again.flags & NOTED
    assert await saved(bench, task.id) == DATA


async def test_kafka_tasks_are_flagged_for_their_notes_and_not_for_missed_starts(bench: Bench) -> None:
    await bench.submit()
    inc = await bench.worker(mode="kafka", window=10, partitions=2)
    ((_, _, task),) = (await bench.store.dispatch(1)).tasks
    await bench.advance(600)
    await bench.beat(inc, window=10)
    await bench.store.reap(10_000, 10)  # it was not started in time
    ((_, _, task),) = (await bench.store.dispatch(1)).tasks
    assert not task.flags & NOTED
    await bench.store.start(inc, [(task.id, task.fence)])
    assert await note(bench, inc, task, checkpoint=DATA)
    await bench.settle(inc, task, Kind.RELEASE)
    ((_, _, task),) = (await bench.store.dispatch(1)).tasks
    assert task.flags & NOTED


async def test_a_replayed_dead_letter_goes_on_from_its_checkpoint(bench: Bench) -> None:
    inc, task = await running(bench)
    await note(bench, inc, task, checkpoint=DATA, lines=lines("before"))
    await bench.settle(inc, task, Kind.DEAD, data=error())
    assert await bench.store.replay([task.id]) == ["queued"]
    (again,) = await bench.claim(inc)
    assert again.attempt == 1 and again.flags & NOTED
    assert await saved(bench, task.id) == DATA
    assert await messages(bench, task.id) == ["before"]


@pytest.mark.parametrize("per_note", [1, 37, 200])
async def test_the_last_200_lines_are_kept_and_their_numbers_go_on(bench: Bench, per_note: int) -> None:
    inc, task = await running(bench)
    total = 601
    texts = [f"line {n}" for n in range(1, total + 1)]
    for number, at in enumerate(range(0, total, per_note), 1):
        assert await note(bench, inc, task, number, lines=lines(*texts[at : at + per_note]))
    page = await bench.store.notes.logs(task.id)
    assert [line.message for line in page.lines] == texts[-LINES_KEPT:]
    assert [line.n for line in page.lines] == list(range(total - LINES_KEPT + 1, total + 1))
    assert (page.next, page.truncated) == (total, True)
    rest = await bench.store.notes.logs(task.id, total - 3)
    assert [line.message for line in rest.lines] == texts[-3:] and not rest.truncated
    end = await bench.store.notes.logs(task.id, total)
    assert (end.lines, end.next, end.truncated) == ([], total, False)


async def test_long_lines_are_kept_to_their_bytes_and_take_bounded_room(bench: Bench) -> None:
    inc, task = await running(bench)
    before = (await bench.view(task.id)).record
    assert before is not None
    for number in range(1, 60):
        assert await note(bench, inc, task, number, lines=lines(*(f"{number} " + "x" * 1000 for _ in range(3))))
    page = await bench.store.notes.logs(task.id)
    size = sum(len(line.message) for line in page.lines)
    assert BYTES_KEPT * 0.8 < size <= BYTES_KEPT + 1100
    assert page.lines[-1].n == page.next == 177
    record = (await bench.view(task.id)).record
    assert record is not None and record.size - before.size < 2 * BYTES_KEPT + 3000


async def test_notes_count_among_the_kept_bytes_and_go_with_their_task(bench: Bench) -> None:
    inc, task = await running(bench)
    (plain,) = await bench.submit_many(1)
    (other,) = await bench.claim(inc)
    checkpoint = msgspec.msgpack.encode(b"x" * 5000)
    await note(bench, inc, task, 1, checkpoint=checkpoint, lines=lines("a"))
    await bench.settle(inc, task, Kind.COMPLETE)
    await bench.settle(inc, other, Kind.COMPLETE)
    assert (await bench.store.stats()).finished_bytes > 5000
    assert await bench.store.purge([task.id]) == 1
    assert (await bench.store.stats()).finished_bytes < 1000
    assert await bench.store.notes.told([task.id]) == [None]
    assert await saved(bench, task.id) is None and await messages(bench, task.id) == []
    assert await bench.store.purge([plain]) == 1
    if isinstance(bench, RedisBench):
        assert await bench.store._client.exists(bench.store.keys.key("notes")) == 0


async def test_trimming_forgets_the_notes_of_what_it_forgets_and_no_others(bench: Bench) -> None:
    await bench.configure(keep=Kept(ended=Keep(n=1, ms=0), dead=Keep(n=10, ms=0)))
    ids = await bench.submit_many(3)
    inc = await bench.worker()
    for task in await bench.claim(inc, 3):
        await note(bench, inc, task, 1, checkpoint=DATA, lines=lines("kept"))
        await bench.settle(inc, task, Kind.COMPLETE)
        await bench.advance(5)
    assert (await bench.store.trim(100))[0] == 2
    assert [bool(told) for told in await bench.store.notes.told(ids)] == [False, False, True]


async def test_notes_of_every_end_leave_the_numbers_true(bench: Bench) -> None:
    await bench.submit_many(6, tenant="acme")
    inc = await bench.worker()
    kinds = [Kind.COMPLETE, Kind.DEAD, Kind.CANCEL, Kind.EXPIRE, Kind.RETRY, Kind.RELEASE]
    tasks = await bench.claim(inc, 6)
    for task in tasks:
        await note(bench, inc, task, 1, checkpoint=DATA)
        await note(bench, inc, task, 2, checkpoint=NOTHING)
        await note(bench, inc, task, 3, progress=Progress(0.5))
    outcomes = [Settlement(kind, task.id, task.fence) for kind, task in zip(kinds, tasks, strict=True)]
    assert await bench.store.settle(inc, outcomes) == {}
    await bench.store.replay([task.id for task in tasks[1:4]])  # (the fixture takes a census at the end)


async def test_the_checkpoint_of_a_task_that_succeeded_can_be_forgotten_and_its_lines_stay(bench: Bench) -> None:
    await bench.submit_many(3)
    inc = await bench.worker()
    tasks = await bench.claim(inc, 3)
    for task in tasks:
        await note(bench, inc, task, checkpoint=b"x" * 1000, lines=lines("kept"))
    await bench.settle(inc, tasks[0], Kind.COMPLETE, data=b"\x01")
    await bench.settle(inc, tasks[1], Kind.DEAD, data=error())
    before = (await bench.store.stats()).finished_bytes
    ids = [task.id for task in tasks] + [new_task_id()]
    for _ in range(2):
        assert await bench.store.notes.unsave(ids, succeeded=True) == [True, False, False, True]
    assert [bool(found) for found in await bench.store.notes.saved(ids)] == [False, True, True, False]
    assert await messages(bench, ids[0]) == ["kept"]
    assert (await bench.store.stats()).finished_bytes == before - 1000


async def test_a_dead_letter_whose_checkpoint_is_forgotten_begins_anew(bench: Bench) -> None:
    inc, task = await running(bench)
    await note(bench, inc, task, checkpoint=DATA)
    assert await bench.store.notes.unsave([task.id]) == [False], "somebody runs it"
    await bench.settle(inc, task, Kind.DEAD, data=error())
    assert await bench.store.notes.unsave([task.id]) == [True]
    assert await bench.store.replay([task.id]) == ["queued"]
    (again,) = await bench.claim(inc)
    assert await saved(bench, task.id) is None
    await note(bench, inc, again, checkpoint=b"\x01")
    assert await saved(bench, task.id) == b"\x01"


async def test_a_note_survives_the_adoption_of_its_task(bench: Bench) -> None:
    inc, task = await running(bench)
    new = await bench.worker(name="w", last=inc, running=[(task.id, task.fence)])
    assert not await note(bench, inc, task, 1, checkpoint=b"\x01")
    assert await note(bench, new, task, 1, checkpoint=DATA)
    assert await saved(bench, task.id) == DATA


# -- types


def kind_of(name: str, app: str = "shop", description: str = "") -> TaskType:
    return TaskType(name, {"type": "object"}, lane="high", description=description, defaults={"priority": 4}, app=app)


async def announced(bench: Bench) -> Sequence[tuple[str, str]]:
    return [(each.type, each.description) for each in await bench.store.notes.types()]


async def test_types_are_sent_once_and_read_by_everybody(any_bench: Bench) -> None:
    bench = any_bench
    assert await bench.store.notes.types() == []
    types = [kind_of("send"), kind_of("bill", description="Sends a bill.")]
    assert await bench.store.notes.announce("hash1", types)
    assert not await bench.store.notes.announce("hash1", types)
    assert await bench.store.notes.types() == [types[1], types[0]]


async def test_of_two_applications_with_a_type_of_one_name_the_newer_counts(bench: Bench) -> None:
    await bench.store.notes.announce("old", [kind_of("send", description="old"), kind_of("gone")])
    await bench.advance(1000)
    await bench.store.notes.announce("new", [kind_of("send", description="new")])
    await bench.advance(1000)
    await bench.store.notes.announce("old", [kind_of("send", description="old")])  # an old worker is still there
    assert await announced(bench) == [("gone", ""), ("send", "new")]


async def test_types_that_no_worker_announced_for_a_day_are_forgotten(bench: Bench) -> None:
    await bench.configure()
    await bench.store.notes.announce("old", [kind_of("old")])
    await bench.advance(20 * 3_600_000)
    await bench.store.notes.announce("new", [kind_of("new")])
    await bench.advance(5 * 3_600_000)
    await bench.store.notes.announce("new", [kind_of("new")])
    if isinstance(bench, RedisBench):
        fields = await bench.store._client.hkeys(bench.store.keys.key("types"))
        assert sorted(fields) == [b"#", b"new"]
    else:
        assert await announced(bench) == [("new", "")]
    assert await bench.store.notes.announce("old", [kind_of("old")]), "it has to be sent again"
