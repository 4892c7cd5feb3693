"""What handlers tell of themselves reaches the store: bounded, in time, from the loop, threads and processes."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.unit import notes_app
from tests.unit.executor_bench import Bench, claim, error_of, result_of, until, written

from laneway import InvalidCheckpoint, LeaseLost, OutcomeUnknown, Unavailable
from laneway.execute import notes as notes_module
from laneway.execute.notebook import LineBudget, NoteBook
from laneway.execute.notes import Scribe
from laneway.kit.ids import new_task_id
from laneway.model.notes import CHECKPOINT_BYTES, LINES_KEPT, NOTED, LogLine, Note, Saved
from laneway.model.settlement import Kind
from laneway.ports.store import Claimed

APP = "tests.unit.notes_app:app"


class Kept:
    """A store of notes that remembers what it was told; ``error`` is raised instead, ``held`` says whether to take."""

    def __init__(self) -> None:
        self.calls: list[list[Note]] = []
        self.error: Exception | None = None
        self.held = True
        self.checkpoints: dict[bytes, Saved] = {}
        self.gate: asyncio.Event | None = None
        self.unsaved: list[list[bytes]] = []
        self.reads = 0
        self.incarnation = b"incarnat"

    async def note(self, inc: bytes, notes: Sequence[Note]) -> list[bool]:
        if inc != self.incarnation:
            return [False] * len(notes)
        copies = msgspec.convert([msgspec.to_builtins(each) for each in notes], list[Note])
        self.calls.append(copies)
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        return [self.held] * len(notes)

    async def saved(self, ids: Sequence[bytes]) -> list[Saved | None]:
        self.reads += 1
        if self.error is not None:
            raise self.error
        return [self.checkpoints.get(id) for id in ids]

    async def unsave(self, ids: Sequence[bytes], *, succeeded: bool = False) -> list[bool]:
        assert succeeded
        self.unsaved.append(list(ids))
        return [len(self.unsaved) > 1] * len(ids)

    @property
    def notes(self) -> list[Note]:
        return [note for call in self.calls for note in call]

    @property
    def lines(self) -> list[LogLine]:
        return [line for note in self.notes for line in note.lines]

    @property
    def messages(self) -> list[str]:
        return [line.message for line in self.lines]

    @property
    def fractions(self) -> list[float]:
        return [note.progress.fraction for note in self.notes if note.progress is not None]

    @property
    def saved_data(self) -> list[Any]:
        return [msgspec.msgpack.decode(note.checkpoint) for note in self.notes if note.checkpoint is not None]


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
async def make_bench(kept: Kept) -> AsyncIterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(**options: Any) -> Bench:
        async def held(id: bytes, fence: int) -> bool:
            return False

        scribe = Scribe(kept, lambda: b"incarnat", logs=options.pop("logs", True))  # type: ignore[arg-type]
        options = {
            "app_path": APP, "context_path": "laneway.client.context:Context", "scribe": scribe,
            "make_context": notes_app.app.context_factory(held), "kill_after": 10.0, **options,
        }  # fmt: skip
        bench = Bench(notes_app.app.tasks, **options)
        made.append(bench)
        return bench

    yield make
    for bench in made:
        await bench.executor.stop(0)
    assert not [handler for handler in logging.getLogger().handlers if "TaskLog" in type(handler).__name__]


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench()


def noted(type: str, **options: Any) -> Claimed:
    claimed = claim(type, **options)
    claimed.flags |= NOTED
    return claimed


# -- each kind of handler


@pytest.mark.parametrize(
    ("type", "where"), [("tells", "loop"), ("tells_thread", "thread"), ("tells_process", "process")]
)
async def test_progress_lines_and_checkpoint_of_each_kind_of_handler_are_written_before_its_settlement(
    bench: Bench, kept: Kept, type: str, where: str
) -> None:
    settlement = await bench.run(type)
    assert (settlement.kind, result_of(settlement)) == (Kind.COMPLETE, None)
    assert kept.saved_data == [{"at": where}]
    assert kept.fractions[-1] == 1.0
    assert [(line.level, line.message, line.attempt) for line in kept.lines] == [
        ("info", f"own where={where}", 1),
        ("warning", f"standard {where}", 1),
    ]
    assert {(note.id, note.fence) for note in kept.notes} == {(settlement.id, 1)}
    numbers = [note.number for note in kept.notes]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("suspect", [False, True], ids=["here", "as a suspect in a process"])
@pytest.mark.parametrize("type", ["tells", "tells_thread", "tells_process"])
async def test_the_next_attempt_finds_what_was_saved(bench: Bench, kept: Kept, type: str, suspect: bool) -> None:
    task = noted(type, attempt=2, suspect=suspect)
    kept.checkpoints[task.id] = Saved(msgspec.msgpack.encode([1, "two"]), 1, 5)
    bench.start(task)
    (settlement,) = await bench.ended(task)
    assert settlement is not None and result_of(settlement) == [1, "two"]
    assert len(kept.saved_data) == 1
    assert {line.attempt for line in kept.lines} == {2}


async def test_a_task_whose_notes_are_progress_only_finds_nothing_saved(bench: Bench) -> None:
    task = noted("tells")
    bench.start(task)
    (settlement,) = await bench.ended(task)
    assert settlement is not None and result_of(settlement) is None


async def test_a_handler_does_not_begin_before_its_checkpoint_is_read(bench: Bench, kept: Kept) -> None:
    kept.error = Unavailable("away", 1.0)
    task = noted("tells")
    kept.checkpoints[task.id] = Saved(b"\x07", 1, 5)
    bench.start(task)
    await until(lambda: kept.reads > 1, "the checkpoint is asked for again")
    assert not kept.calls
    kept.error = None
    (settlement,) = await bench.ended(task)
    assert settlement is not None and result_of(settlement) == 7


async def test_a_task_that_is_lost_while_its_checkpoint_is_read_is_dropped(bench: Bench, kept: Kept) -> None:
    kept.error = Unavailable("away", 1.0)
    task = noted("tells")
    bench.start(task)
    await asyncio.sleep(0)
    bench.executor.lose(task.id)
    assert await bench.ended(task) == [None]
    assert not kept.calls


async def test_a_plain_function_may_await_on_a_loop_of_its_own(bench: Bench, kept: Kept) -> None:
    assert result_of(await bench.run("own_loop")) == "from another loop"
    assert kept.saved_data == ["from another loop"]


async def test_a_plain_function_asks_whether_its_task_is_still_its_own(bench: Bench) -> None:
    assert result_of(await bench.run("extends")) is False


async def test_the_blocking_twin_is_refused_on_the_loop_that_it_would_block(bench: Bench, kept: Kept) -> None:
    assert "await ctx." in result_of(await bench.run("in_async"))
    assert not kept.calls


# -- refusals and outages


async def test_a_checkpoint_of_a_lost_task_raises_lease_lost_and_nothing_more_is_sent(bench: Bench, kept: Kept) -> None:
    kept.held = False
    settlement = await bench.run("tells")
    assert error_of(settlement).kind == "LeaseLost"
    assert len(kept.calls) == 1


async def test_a_process_gets_the_same_errors(bench: Bench, kept: Kept) -> None:
    kept.held = False
    assert result_of(await bench.run("refused")).startswith("LeaseLost: task ")
    kept.held, kept.error = True, OutcomeUnknown("no answer")
    assert result_of(await bench.run("refused")) == "OutcomeUnknown: no answer"
    kept.error = None
    assert result_of(await bench.run("refused")) == "saved"


async def test_a_checkpoint_while_redis_is_away_says_so(bench: Bench, kept: Kept) -> None:
    kept.error = Unavailable("Redis is away", 1.0)
    settlement = await bench.run("tells")
    assert (settlement.kind, error_of(settlement).kind) == (Kind.RETRY, "Unavailable")


async def test_a_checkpoint_that_meets_a_new_registration_is_written_under_that(kept: Kept) -> None:
    kept.incarnation = b"the next"
    inc = [b"the last"]

    class Slow(Kept):
        async def note(self, inc_: bytes, notes: Sequence[Note]) -> list[bool]:
            inc[0] = kept.incarnation  # the worker registers anew while the call is under way
            return await kept.note(inc_, notes)

    scribe = Scribe(Slow(), lambda: inc[0])  # type: ignore[arg-type]
    scribe.open(asyncio.get_running_loop())
    await scribe.checkpoint(_Run(), b"\x01")  # type: ignore[arg-type]
    assert [note.checkpoint for note in kept.notes] == [b"\x01"]
    await scribe.close()


async def test_who_waits_for_a_checkpoint_when_the_worker_ends_waits_no_longer(kept: Kept) -> None:
    scribe = Scribe(kept, lambda: b"incarnat")  # type: ignore[arg-type]
    scribe.open(asyncio.get_running_loop())
    kept.gate = asyncio.Event()
    under_way, next_one = (asyncio.create_task(scribe.checkpoint(_Run(), b"\x01")) for _ in range(2))  # type: ignore[arg-type]
    await until(lambda: kept.calls, "the first call is under way")
    await scribe.close()
    async with asyncio.timeout(10):
        ends = await asyncio.gather(under_way, next_one, return_exceptions=True)
    assert [type(end) for end in ends] == [LeaseLost, LeaseLost], "nobody is told that something was saved"


async def test_notes_never_keep_a_task_from_its_settlement_for_long(
    bench: Bench, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notes_module, "END_WAIT", 0.05)
    kept.gate = asyncio.Event()  # Redis does not answer
    task = claim("leaves_a_task")
    bench.start(task)
    (settlement,) = await bench.ended(task)
    assert settlement is not None and settlement.kind is Kind.COMPLETE
    kept.gate.set()


async def test_a_task_that_is_lost_while_its_last_notes_are_written_is_not_settled(bench: Bench, kept: Kept) -> None:
    kept.gate = asyncio.Event()
    task = claim("leaves_a_task")
    bench.start(task)
    await until(lambda: kept.calls, "the last notes are on their way")
    bench.executor.lose(task.id)
    assert await bench.ended(task) == [None]
    kept.gate.set()


async def test_what_is_told_after_the_end_of_an_attempt_is_dropped(
    bench: Bench, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notes_module, "INTERVAL", 0.001)  # (what is not dropped is written at once)
    notes_app.background.clear()
    await bench.run("leaves_a_task")
    await asyncio.gather(*notes_app.background)
    await asyncio.sleep(0.02)
    assert kept.messages == ["in time"]
    assert kept.fractions == []


async def test_the_checkpoint_of_a_task_that_succeeded_is_forgotten_once_redis_knows_of_its_end(
    bench: Bench, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notes_module, "TIDY_AFTER", 0.001)
    settlement = await bench.run("tells")
    await until(lambda: len(kept.unsaved) == 2, "what was not forgotten at first is tried again")
    assert kept.unsaved == [[settlement.id], [settlement.id]]
    kept.error = Unavailable("away", 1.0)
    await bench.run("tells")  # it fails, so its checkpoint stays
    kept.error = None
    await bench.run("leaves_a_task")  # it has none
    await asyncio.sleep(0.02)
    assert len(kept.unsaved) == 2


# -- how much, how often


async def test_a_task_that_tells_nothing_makes_no_call(make_bench: Callable[..., Bench], kept: Kept) -> None:
    bench = make_bench()
    bench.executor._tasks = {**notes_app.app.tasks}
    for _ in range(20):
        await bench.run("in_async")
    assert not kept.calls
    assert bench.executor._scribe is not None and not bench.executor._scribe._news


async def test_logs_can_be_off_and_progress_and_checkpoints_go_on(make_bench: Callable[..., Bench], kept: Kept) -> None:
    bench = make_bench(logs=False)
    await bench.run("tells")
    assert not kept.lines
    assert kept.saved_data == [{"at": "loop"}] and kept.fractions


async def test_a_chatty_process_sends_the_last_progress_and_says_how_many_lines_it_left_out(
    bench: Bench, kept: Kept
) -> None:
    settlement = await bench.run("many", {"lines": 5000, "progress": 20_000})
    assert settlement.kind is Kind.COMPLETE
    assert kept.fractions[-1] == 19_999 / 20_000
    assert len(kept.fractions) < 50
    assert len(kept.lines) < 1500
    told = [message for message in kept.messages if "left out" in message]
    assert told
    assert kept.messages[-1] == "line 4999", "the last lines come through"


async def test_lines_and_progress_of_a_process_that_dies_are_kept(bench: Bench, kept: Kept) -> None:
    settlement = await bench.run("dies", {"code": 3})
    assert settlement.kind is Kind.RETRY and settlement.crashed
    assert kept.messages == ["about to end"] and kept.fractions == [0.9]


async def test_a_process_that_is_stopped_amid_its_notes_cleans_up_and_is_settled(
    bench: Bench, kept: Kept, tmp_path: Path
) -> None:
    for n in range(3):
        mark = tmp_path / f"mark{n}"
        settlement = await bench.run("stopped", {"mark": str(mark)})
        assert error_of(settlement).kind == "timeout", error_of(settlement)
        assert "SIGTERM" not in error_of(settlement).message
        assert await written(mark) == "cleaned"
    assert kept.saved_data


async def test_progress_is_written_at_most_twice_a_second_and_the_last_value_counts(
    bench: Bench, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notes_module, "INTERVAL", 3600.0)
    run = _Run()
    scribe = bench.executor._scribe
    bench.executor._bind(asyncio.get_running_loop())
    assert scribe is not None
    for n in range(1000):
        scribe.progress(run, n / 1000, "")  # type: ignore[arg-type]
        if n == 10:
            await until(lambda: kept.calls, "the first is written at once")
    await asyncio.sleep(0.02)
    assert len(kept.calls) == 1  # (the next one would be in an hour)
    await scribe.finish(run)  # type: ignore[arg-type]
    assert kept.fractions[-1] == 0.999 and len(kept.calls) == 2


async def test_checkpoints_of_many_handlers_at_once_share_calls(bench: Bench, kept: Kept) -> None:
    tasks = [claim("tells") for _ in range(100)]
    bench.start(*tasks)
    await bench.ended(*tasks)
    assert len(kept.saved_data) == 100
    assert len(kept.calls) < 60


async def test_one_worker_takes_a_bounded_number_of_lines(bench: Bench, kept: Kept) -> None:
    scribe = bench.executor._scribe
    bench.executor._bind(asyncio.get_running_loop())
    assert scribe is not None
    runs = [_Run() for _ in range(60)]
    for run in runs:
        for n in range(100):
            scribe.line(run, "info", f"line {n}")  # type: ignore[arg-type]
    await asyncio.gather(*(scribe.finish(run) for run in runs))  # type: ignore[arg-type]
    assert scribe.budget.refused > 3000
    assert 1990 < len(kept.lines) < 2800
    assert "line 99" in kept.messages, "the last lines of an attempt are those that are written"


class _Run:
    """As much of a run as the scribe needs."""

    def __init__(self) -> None:
        self.id, self.fence, self.attempt, self.over = new_task_id(), 7, 1, False
        self.book: NoteBook | None = None


# -- the notebook


def budget(lines: float = 1000.0) -> LineBudget:
    return LineBudget(lines, 1_000_000.0, clock=lambda: 0.0)


def book() -> NoteBook:
    return NoteBook(bytes(14), 1, 2, lambda: 5)


def test_of_too_many_lines_the_last_are_kept_and_the_others_counted() -> None:
    notes = book()
    for n in range(LINES_KEPT + 50):
        notes.line("info", f"line {n}")
    note = notes.take(budget())
    assert note is not None
    assert note.lines[0] == LogLine(5, 2, "warning", "(51 lines were left out: more came than are kept)")
    assert [note.lines[1].message, note.lines[-1].message] == ["line 51", f"line {LINES_KEPT + 49}"]


def test_of_more_lines_than_the_budget_grants_the_last_are_written_and_the_next_time_the_others_are_told() -> None:
    notes, left = book(), budget(1.0)  # four at once
    for n in range(10):
        notes.line("info", f"line {n}")
    note = notes.take(left)
    assert note is not None
    assert [line.message for line in note.lines] == [
        "(6 lines were left out: more came than are kept)", "line 6", "line 7", "line 8", "line 9",
    ]  # fmt: skip
    notes.taken(True)
    notes.line("info", "another")
    assert left.spent and notes.only_lines()
    assert notes.take(left) is None
    notes.line("info", "and one more")
    note = notes.take(budget())
    assert note is not None
    assert [line.message for line in note.lines] == ["(1 line was left out: more came than are kept)", "and one more"]


def test_a_budget_fills_with_time_up_to_its_burst() -> None:
    now = [0.0]
    left = LineBudget(2.0, 10_000.0, burst=2.0, clock=lambda: now[0])
    lines = [LogLine(1, 1, "info", "x")] * 10
    assert left.grant(lines) == 4
    assert left.grant(lines) == 0
    now[0] = 1.0
    assert left.grant(lines) == 2
    now[0] = 100.0
    assert left.grant(lines) == 4
    assert left.grant([LogLine(1, 1, "info", "x" * 30_000)]) == 0
    assert left.refused == 6 + 10 + 8 + 6 + 1


def test_long_lines_are_cut_and_bytes_are_bounded() -> None:
    notes = book()
    for _ in range(30):
        notes.line("info", "é" * 10_000)
    note = notes.take(budget())
    assert note is not None
    assert all(len(line.message) == 4000 and line.message.endswith("…") for line in note.lines[1:])
    assert len(note.lines) < 12


def test_text_that_is_no_unicode_is_made_so() -> None:
    notes = book()
    notes.line("info", "half \ud83d a character")
    note = notes.take(budget())
    assert note is not None
    assert note.lines[0].message == "half ? a character"


async def test_what_could_not_be_written_is_told_again_under_its_number_without_its_checkpoint() -> None:
    notes = book()
    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    notes.line("info", "one")
    notes.checkpoint(b"\x01", waiter)
    first = notes.take(budget())
    assert first is not None and first.checkpoint == b"\x01"
    notes.line("info", "two")
    notes.failed(Unavailable("away", 1.0))
    with pytest.raises(Unavailable):
        await waiter
    again = notes.take(budget())
    assert again is not None and (again.number, again.checkpoint) == (1, None)
    assert [line.message for line in again.lines] == ["one"]
    notes.taken(True)
    rest = notes.take(budget())
    assert rest is not None and (rest.number, [line.message for line in rest.lines]) == (2, ["two"])


async def test_whoever_waits_is_told_when_the_attempt_ends() -> None:
    notes = book()
    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    notes.checkpoint(b"\x01", waiter)
    notes.close()
    await waiter
    assert notes.take(budget()) is None


def test_lines_from_many_threads_are_all_there() -> None:
    notes = book()
    threads = [threading.Thread(target=lambda: [notes.line("info", "x") for _ in range(20)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    note = notes.take(budget())
    assert note is not None and len(note.lines) == 160


# -- the context


async def test_a_checkpoint_that_is_too_large_or_can_not_be_sent_is_refused_and_nothing_is_saved() -> None:
    from laneway import stand_in_context

    ctx = stand_in_context("t", saved={"page": 1})
    with pytest.raises(InvalidCheckpoint, match=r"at most 262,144 are kept: store the data elsewhere"):
        await ctx.checkpoint("x" * CHECKPOINT_BYTES)
    with pytest.raises(InvalidCheckpoint, match="can't be encoded"):
        ctx.sync.checkpoint(object())
    assert ctx.saved == {"page": 1}
    await ctx.checkpoint({"page": 2})
    assert ctx.saved == {"page": 2}
    await ctx.checkpoint(None)
    assert ctx.saved is None


class Page(msgspec.Struct):
    number: int
    names: list[str]


def test_a_checkpoint_comes_back_as_the_type_that_is_asked_for() -> None:
    from laneway import stand_in_context

    ctx = stand_in_context("t", saved=Page(3, ["a"]))
    assert ctx.saved_as(Page) == Page(3, ["a"])
    assert ctx.saved == {"number": 3, "names": ["a"]}
    with pytest.raises(InvalidCheckpoint, match="not of the type asked for"):
        ctx.saved_as(int)
    assert stand_in_context("t").saved_as(Page) is None


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_fraction_that_is_none_is_refused(fraction: float) -> None:
    from laneway import stand_in_context

    with pytest.raises(ValueError, match="from 0 to 1"):
        stand_in_context("t").progress(fraction)
