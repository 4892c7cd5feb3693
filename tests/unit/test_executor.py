"""The executor with handlers on the event loop and in threads: every way that an attempt can end."""

import asyncio
import io
import json
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from tests.unit.executor_app import tasks
from tests.unit.executor_bench import SECONDS, Bench, claim, error_of, result_of, until, written

from laneway.errors import ConfigError
from laneway.execute.executor import Executor
from laneway.kit.ids import id_text
from laneway.kit.logs import current_scope, setup_logging
from laneway.model.record import HAS_ERRORS
from laneway.model.settlement import Kind, Settlement
from laneway.model.task import HandlerKind, TaskDef


@pytest.fixture
async def make() -> AsyncIterator[Callable[..., Bench]]:
    """Makes benches, and stops their executors after the test."""
    benches: list[Bench] = []

    def bench(**options: Any) -> Bench:
        options = {"kill_after": 0.2, **options}
        benches.append(Bench(options.pop("tasks", tasks), **options))
        return benches[-1]

    yield bench
    for one in benches:
        await one.executor.stop(0.0)
        assert one.executor.busy == 0


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What is logged, as JSON lines."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    stream = io.StringIO()
    setup_logging("info", "json", stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


Make = Callable[..., Bench]


# -- endings


async def test_each_attempt_that_fails_is_one_line_in_the_log_and_a_success_is_none(
    make: Make, lines: io.StringIO
) -> None:
    bench = make()
    await bench.run("echo")
    assert lines.getvalue() == ""
    failed = await bench.run("fails", {"kind": "value"}, attempt=2)
    died = await bench.run("fails", {"kind": "value"}, attempt=4)
    await bench.run("ends", {"how": "snooze", "delay": 9})
    unknown = await bench.run("from-the-future")
    retry, dead, snooze, stranger = map(json.loads, lines.getvalue().splitlines())
    assert (retry["event"], retry["level"], retry["task"]) == ("attempt failed", "warning", id_text(failed.id))
    assert (retry["type"], retry["attempt"], retry["of"], retry["again_in"]) == ("fails", 2, 4, 4.0)
    assert retry["error"].startswith("ValueError: ")
    assert (dead["event"], dead["level"], dead["task"]) == ("task is dead", "error", id_text(died.id))
    assert (snooze["event"], snooze["level"], snooze["again_in"]) == ("task snoozes", "info", 9.0)
    assert (stranger["event"], stranger["task"]) == ("attempt failed", id_text(unknown.id))
    assert stranger["error"].startswith("unknown_type: this worker has no task type 'from-the-future'")


async def test_a_result_is_settled_with_the_tasks_fence(make: Make) -> None:
    bench = make()
    settlement = await bench.run("echo", {"value": [1, "two"]}, fence=77)
    assert (settlement.kind, settlement.fence, result_of(settlement)) == (Kind.COMPLETE, 77, [1, "two"])


async def test_nothing_returned_is_settled_without_data(make: Make) -> None:
    bench = make()
    settlement = await bench.run("echo")
    assert settlement == Settlement(Kind.COMPLETE, settlement.id, 1)


@pytest.mark.parametrize(
    ("how", "delay", "kind", "delay_ms"),
    [
        ("retry", 9, Kind.RETRY, 9_000),
        ("retry", None, Kind.RETRY, 2_000),
        ("snooze", 9, Kind.SNOOZE, 9_000),
        ("cancel", None, Kind.CANCEL, 0),
        ("discard", None, Kind.DEAD, 0),
    ],
)
@pytest.mark.parametrize("prefix", ["", "raise-"])
async def test_outcomes_are_obeyed(
    make: Make, prefix: str, how: str, delay: int | None, kind: Kind, delay_ms: float
) -> None:
    settlement = await make().run("ends", {"how": prefix + how, "delay": delay})
    assert (settlement.kind, settlement.delay_ms) == (kind, delay_ms)


@pytest.mark.parametrize(
    ("what", "attempt", "kind", "delay_ms", "error"),
    [
        ("value", 1, Kind.RETRY, 2_000, "ValueError"),
        ("value", 3, Kind.RETRY, 8_000, "ValueError"),
        ("value", 4, Kind.DEAD, 0, "ValueError"),
        ("picky", 1, Kind.RETRY, 60_000, "Picky"),
        ("hopeless", 1, Kind.DEAD, 0, "Hopeless"),
        ("exit", 1, Kind.RETRY, 2_000, "SystemExit"),
        ("cancelled", 1, Kind.RETRY, 2_000, "CancelledError"),
        ("stop", 1, Kind.RETRY, 2_000, "RuntimeError"),
    ],
)
async def test_failures_follow_the_tasks_policy(
    make: Make, what: str, attempt: int, kind: Kind, delay_ms: float, error: str
) -> None:
    settlement = await make().run("fails", {"kind": what}, attempt=attempt)
    assert (settlement.kind, settlement.delay_ms, settlement.crashed) == (kind, delay_ms, False)
    kept = error_of(settlement)
    assert (kept.kind, kept.attempt, kept.worker) == (error, attempt, "w1")
    assert abs(kept.at - time.time() * 1000) < 60_000


async def test_a_traceback_begins_at_the_handler(make: Make) -> None:
    kept = error_of(await make().run("fails"))
    assert "in fails" in kept.traceback
    assert "executor.py" not in kept.traceback


@pytest.mark.parametrize("type", ["echo", "about"])
async def test_arguments_that_do_not_fit_are_dead_and_the_handler_is_not_called(make: Make, type: str) -> None:
    settlement = await make().run(type, {"forbidden": 1})
    assert settlement.kind is Kind.DEAD
    assert (error_of(settlement).kind, error_of(settlement).message) == (
        "InvalidTask",
        f"arguments of {type!r}: forbidden: no such argument",
    )


async def test_an_unknown_type_is_tried_again_later(make: Make) -> None:
    settlement = await make().run("from-the-future")
    assert settlement.kind is Kind.RETRY
    assert settlement.delay_ms > 10_000
    assert error_of(settlement).kind == "unknown_type"


async def test_an_envelope_that_can_not_be_read_is_dead(make: Make) -> None:
    bench = make()
    claimed = claim("echo")
    claimed.envelope = claimed.envelope[:20] + b"\xff"
    bench.start(claimed)
    (settlement,) = await bench.ended(claimed)
    assert settlement is not None
    assert (settlement.kind, error_of(settlement).kind) == (Kind.DEAD, "corrupt")


async def test_a_result_that_can_not_be_kept_is_dead(make: Make) -> None:
    bench = make(max_result=100)
    big, odd = await bench.run("echo", {"value": "x" * 100}), await bench.run("unencodable")
    assert [(s.kind, error_of(s).kind) for s in (big, odd)] == [
        (Kind.DEAD, "ResultTooLarge"),
        (Kind.DEAD, "ResultNotEncodable"),
    ]


# -- threads


async def test_a_handler_in_a_thread_gets_a_context(make: Make) -> None:
    bench = make(state={"db": 1})
    settlement = await bench.run("about", attempt=2, fence=9, tenant="acme", timeout=30)
    assert {
        "attempt": 2,
        "fence": 9,
        "lane": "lane-1",
        "tenant": "acme",
        "deadline": True,
        "worker": "w1",
    }.items() <= (result_of(settlement).items())


async def test_the_injected_factory_makes_the_context(make: Make) -> None:
    def handler(ctx: Any) -> Any:
        return ctx

    task = TaskDef("t", handler, HandlerKind.THREAD, lambda raw: {}, lambda result: result, takes_context="ctx")
    bench = make(tasks={"t": task}, make_context=lambda data: b"made for " + data.type.encode())
    assert (await bench.run("t")).data == b"made for t"


async def test_a_failure_in_a_thread_is_tried_again(make: Make) -> None:
    settlement = await make().run("thread-raises", {"text": "bad"})
    assert (settlement.kind, error_of(settlement).message) == (Kind.RETRY, "bad")
    assert "in raises" in error_of(settlement).traceback


async def test_threads_are_bounded_and_the_rest_waits_its_turn(make: Make, tmp_path: Path) -> None:
    bench = make(threads=2)
    release = [str(tmp_path / f"r{i}") for i in range(3)]
    claims = [claim("blocks", {"release": path, "result": i}) for i, path in enumerate(release)]
    bench.start(*claims)
    names = [await written(f"{path}.started") for path in release[:2]]
    assert len(set(names)) == 2
    assert bench.executor.busy == 3
    assert not (tmp_path / "r2.started").exists()
    (tmp_path / "r0").touch()
    await written(f"{release[2]}.started")
    for name in ("r1", "r2"):
        (tmp_path / name).touch()
    settled = await bench.ended(*claims)
    assert [result_of(s) for s in settled if s] == [0, 1, 2]


# -- time-outs


async def test_an_async_handler_past_its_timeout_is_cancelled(make: Make) -> None:
    settlement = await make().run("waits", timeout=0.05)
    assert (settlement.kind, settlement.delay_ms) == (Kind.RETRY, 2_000)
    assert (error_of(settlement).kind, error_of(settlement).message) == (
        "timeout",
        "'waits' ran longer than its timeout of 0.05 s",
    )


async def test_the_timeout_of_the_task_type_holds_where_the_submitter_gave_none(make: Make) -> None:
    quick = TaskDef("quick", tasks["waits"].fn, HandlerKind.ASYNC, lambda raw: {}, lambda r: None, timeout=0.05)
    settlement = await make(tasks={"quick": quick}).run("quick")
    assert error_of(settlement).kind == "timeout"


async def test_a_handler_that_swallows_the_cancellation_keeps_its_slot_until_it_returns(
    make: Make, tmp_path: Path
) -> None:
    bench = make()
    release = tmp_path / "release"
    claimed = claim("swallows", {"release": str(release), "result": 5}, timeout=0.05)
    bench.start(claimed)
    await written(f"{release}.asked")
    assert (bench.executor.busy, bench.executor.overdue, bench.settled) == (1, 1, {})
    release.touch()
    (settlement,) = await bench.ended(claimed)
    assert settlement is not None
    assert (settlement.kind, error_of(settlement).kind) == (Kind.RETRY, "timeout")
    assert error_of(settlement).message.endswith("and returned only then")
    assert bench.executor.busy == 0


async def test_a_handler_in_a_thread_past_its_timeout_is_told_by_its_context(make: Make, tmp_path: Path) -> None:
    bench = make()
    aware = claim("blocks-aware", {"release": str(tmp_path / "never"), "result": 1}, timeout=0.05)
    bench.start(aware)
    (settlement,) = await bench.ended(aware)
    assert settlement is not None
    assert (settlement.kind, error_of(settlement).kind) == (Kind.RETRY, "timeout")


async def test_a_handler_in_a_thread_that_does_not_look_keeps_its_slot_until_it_returns(
    make: Make, tmp_path: Path
) -> None:
    bench = make()
    release = tmp_path / "release"
    claimed = claim("blocks", {"release": str(release)}, timeout=0.05)
    bench.start(claimed)
    await until(lambda: bench.executor.overdue == 1, "asked to stop")
    assert (bench.executor.busy, bench.settled) == (1, {})
    release.touch()
    (settlement,) = await bench.ended(claimed)
    assert settlement is not None
    assert error_of(settlement).kind == "timeout"


async def test_many_deadlines_are_met_in_any_order_and_only_by_those_that_have_one(make: Make) -> None:
    bench = make()
    forever = claim("waits")
    late = claim("waits", timeout=60)
    claims = [claim("waits", timeout=t / 1000) for t in (90, 30, 60, 30, 120, 45)]
    bench.start(late, forever, *claims)
    began = time.monotonic()
    settled = await bench.ended(*claims)
    assert {error_of(s).kind for s in settled if s} == {"timeout"}
    assert 0.12 <= time.monotonic() - began < SECONDS
    assert bench.executor.busy == 2


# -- cancellation, lost leases, stale leases


async def test_a_cancelled_handler_settles_as_cancel(make: Make, tmp_path: Path) -> None:
    bench = make()
    claimed = claim("waits", {"started": str(tmp_path / "s")})
    bench.start(claimed)
    await written(tmp_path / "s")
    bench.executor.cancel(claimed.id)
    (settlement,) = await bench.ended(claimed)
    assert settlement is not None
    assert (settlement.kind, error_of(settlement).kind) == (Kind.CANCEL, "cancelled")


async def test_a_task_cancelled_before_its_handler_began_never_runs(make: Make, tmp_path: Path) -> None:
    bench = make()
    claimed = claim("waits", {"started": str(tmp_path / "s")})
    bench.start(claimed)
    bench.executor.cancel(claimed.id)
    (settlement,) = await bench.ended(claimed)
    await asyncio.sleep(0)
    assert settlement is not None
    assert settlement.kind is Kind.CANCEL
    assert not (tmp_path / "s").exists()


async def test_a_task_cancelled_while_it_waits_for_a_thread_settles_at_once(make: Make, tmp_path: Path) -> None:
    bench = make(threads=1)
    release = tmp_path / "r"
    first, second = (
        claim("blocks", {"release": str(release)}),
        claim("blocks", {"release": str(tmp_path / "x")}),
    )
    bench.start(first, second)
    await written(f"{release}.started")
    bench.executor.cancel(second.id)
    (settlement,) = await bench.ended(second)
    assert settlement is not None
    assert settlement.kind is Kind.CANCEL
    assert not bench.settled.get(first.id)
    release.touch()
    await bench.ended(first)


async def test_a_result_that_comes_in_spite_of_a_cancellation_counts(make: Make, tmp_path: Path) -> None:
    bench = make()
    release = tmp_path / "r"
    claimed = claim("swallows", {"release": str(release), "result": "done"})
    bench.start(claimed)
    await asyncio.sleep(0)
    bench.executor.cancel(claimed.id)
    await written(f"{release}.asked")
    release.touch()
    (settlement,) = await bench.ended(claimed)
    assert settlement is not None
    assert (settlement.kind, result_of(settlement)) == (Kind.COMPLETE, "done")


async def test_cancelling_what_does_not_run_here_does_nothing(make: Make) -> None:
    bench = make()
    bench.executor.cancel(bytes(14))
    bench.executor.lose(bytes(14))
    assert (bench.settled, bench.dropped) == ({}, [])


@pytest.mark.parametrize("begun", [True, False])
async def test_a_lost_task_is_stopped_and_nothing_is_settled(make: Make, begun: bool) -> None:
    bench = make()
    claimed = claim("waits")
    bench.start(claimed)
    if begun:
        await asyncio.sleep(0)
    bench.executor.lose(claimed.id)
    assert bench.executor.running() == []
    assert await bench.ended(claimed) == [None]
    assert (bench.settled, bench.dropped, bench.observed) == ({}, [claimed.id], [])


async def test_a_lost_task_that_comes_back_runs_beside_its_old_attempt(make: Make, tmp_path: Path) -> None:
    bench = make()
    release = tmp_path / "r"
    old = claim("swallows", {"release": str(release), "result": "old"}, fence=1)
    bench.start(old)
    await asyncio.sleep(0)
    new = claim("echo", {"value": "new"}, fence=2, id=old.id)
    bench.start(new)
    assert bench.executor.running() == [(old.id, 2)]
    await until(lambda: bench.settled, "the new attempt settled")
    assert (bench.settled[old.id].fence, result_of(bench.settled[old.id])) == (2, "new")
    assert bench.executor.busy == 1
    bench.settled.clear()
    release.touch()
    await until(lambda: bench.dropped, "the old attempt dropped")
    assert (bench.executor.busy, bench.settled) == (0, {})


async def test_a_record_delivered_twice_runs_once(make: Make) -> None:
    bench = make()
    claimed = claim("echo", {"value": 1}, fence=5)
    bench.start(claimed, claimed)
    assert bench.executor.busy == 1
    await bench.ended(claimed)
    assert len(bench.observed) == 1


async def test_nothing_begins_while_the_lease_is_not_known_to_be_fresh(make: Make, tmp_path: Path) -> None:
    bench = make(threads=1)
    bench.fresh = False
    claims = [
        claim("waits", {"started": str(tmp_path / "a")}),
        claim("blocks", {"release": str(tmp_path / "b")}),
    ]
    bench.start(*claims)
    assert await bench.ended(*claims) == [None, None]
    assert not (tmp_path / "a").exists()
    assert not (tmp_path / "b.started").exists()


async def test_the_lease_is_looked_at_when_a_handler_begins_not_when_it_was_given(make: Make, tmp_path: Path) -> None:
    bench = make(threads=1)
    release = tmp_path / "r"
    first, second = (
        claim("blocks", {"release": str(release)}),
        claim("blocks", {"release": str(tmp_path / "x")}),
    )
    bench.start(first, second)
    await written(f"{release}.started")
    bench.fresh = False
    release.touch()
    settled = await bench.ended(first, second)
    assert settled[0] is not None
    assert settled[0].kind is Kind.COMPLETE
    assert settled[1] is None


# -- stopping


async def test_stopping_waits_for_what_runs(make: Make, tmp_path: Path) -> None:
    bench = make()
    release = tmp_path / "r"
    claimed = claim("blocks", {"release": str(release), "result": 1})
    bench.start(claimed)
    await written(f"{release}.started")
    stopping = asyncio.create_task(bench.executor.stop(SECONDS))
    await asyncio.sleep(0)
    release.touch()
    await stopping
    assert result_of(bench.settled[claimed.id]) == 1


async def test_stopping_past_its_grace_hands_everything_back_without_a_word_against_it(
    make: Make, tmp_path: Path
) -> None:
    bench = make(threads=1)
    thread = claim("blocks", {"release": str(tmp_path / "thread")})
    queued = claim("blocks", {"release": str(tmp_path / "queued")})
    waits = claim("waits", {"started": str(tmp_path / "async")})
    swallows = claim("swallows", {"release": str(tmp_path / "swallows")})
    bench.start(thread, queued, waits, swallows)
    await written(tmp_path / "thread.started")
    await written(tmp_path / "async")
    await bench.executor.stop(0.05)
    assert len(bench.settled) == 4
    for settlement in bench.settled.values():
        assert (settlement.kind, settlement.data) == (Kind.RELEASE, None)
    assert bench.executor.busy == 0
    # What still runs says nothing any more; the bench refuses a second settlement.
    for name in ("thread", "swallows"):
        (tmp_path / name).touch()
    await until(lambda: not any(t.name.startswith("laneway-handler") for t in threading.enumerate()), "threads ended")
    assert not (tmp_path / "queued.started").exists()


async def test_what_is_started_while_stopping_is_handed_back(make: Make) -> None:
    bench = make()
    running = claim("waits")
    bench.start(running)
    await asyncio.sleep(0)
    stopping = asyncio.create_task(bench.executor.stop(0.05))
    await asyncio.sleep(0)
    late = claim("echo")
    bench.start(late)
    assert bench.settled[late.id].kind is Kind.RELEASE
    await stopping
    assert bench.settled[running.id].kind is Kind.RELEASE


async def test_stopping_an_idle_or_stopped_executor_is_fine(make: Make) -> None:
    bench = make()
    await bench.executor.stop(SECONDS)
    await bench.executor.stop(SECONDS)


# -- around handlers


async def test_context_variables_do_not_leak_from_task_to_task(make: Make) -> None:
    bench = make()
    claims = [claim("leak", {"value": f"mark {i}"}) for i in range(20)]
    bench.start(*claims)
    settled = await bench.ended(*claims)
    assert {result_of(s) for s in settled if s} == {"clean"}
    assert current_scope() is None


async def test_log_lines_are_marked_with_the_task_on_the_loop_and_in_threads(make: Make) -> None:
    seen: list[Any] = []

    def look() -> None:
        scope = current_scope()
        seen.append(scope and (scope.task, scope.attempt, scope.trace))

    async def look_async() -> None:
        look()

    kinds = {"a": (look_async, HandlerKind.ASYNC), "t": (look, HandlerKind.THREAD)}
    bench = make(tasks={n: TaskDef(n, f, k, lambda raw: {}, lambda r: None) for n, (f, k) in kinds.items()})
    first, second = await bench.run("a", attempt=2), await bench.run("t", attempt=3)
    assert seen == [(id_text(first.id), 2, None), (id_text(second.id), 3, None)]


class Trace:
    """A middleware that notes what passes through it."""

    def __init__(self, name: str, seen: list[str]) -> None:
        self.name = name
        self.seen = seen

    async def around_execute(self, context: Any, call_next: Callable[[], Any]) -> Any:
        self.seen.append(f"{self.name} before {context.type}")
        try:
            result = await call_next()
        except Exception as error:
            self.seen.append(f"{self.name} raised {type(error).__name__}")
            raise
        self.seen.append(f"{self.name} after {result}")
        return result


@pytest.mark.parametrize(("type", "arguments", "result"), [("echo", {"value": 3}, 3), ("blocks", None, None)])
async def test_middleware_wraps_from_the_outside_in(
    make: Make, tmp_path: Path, type: str, arguments: dict[str, Any] | None, result: Any
) -> None:
    (tmp_path / "r").touch()
    seen: list[str] = []
    bench = make(middleware=[Trace("outer", seen), Trace("inner", seen)])
    settlement = await bench.run(type, arguments or {"release": str(tmp_path / "r")})
    assert result_of(settlement) == result
    assert seen == [
        f"outer before {type}", f"inner before {type}", f"inner after {result}", f"outer after {result}",
    ]  # fmt: skip


async def test_middleware_sees_failures(make: Make) -> None:
    seen: list[str] = []
    settlement = await make(middleware=[Trace("only", seen)]).run("fails")
    assert error_of(settlement).kind == "ValueError"
    assert seen == ["only before fails", "only raised ValueError"]


async def test_a_middleware_that_fails_is_a_failure_of_the_attempt(make: Make) -> None:
    class Broken:
        async def around_execute(self, context: Any, call_next: Callable[[], Any]) -> Any:
            raise RuntimeError("middleware")

    settlement = await make(middleware=[Broken()]).run("echo")
    assert (settlement.kind, error_of(settlement).message) == (Kind.RETRY, "middleware")


async def test_each_settled_attempt_is_observed(make: Make) -> None:
    bench = make()
    await bench.run("echo", tenant="acme")
    await bench.run("fails", attempt=2)
    first, second = bench.observed
    assert (first.type, first.lane, first.tenant, first.kind, first.crashed) == (
        "echo",
        1,
        "acme",
        Kind.COMPLETE,
        False,
    )
    assert 0 <= first.wait_ms < 60_000
    assert 0 <= first.seconds < SECONDS
    assert (second.kind, second.wait_ms) == (Kind.RETRY, -1)


async def test_how_long_a_replay_has_waited_is_not_known(make: Make) -> None:
    bench = make()
    await bench.run("echo", flags=HAS_ERRORS)
    assert [seen.wait_ms for seen in bench.observed] == [-1]


async def test_ten_thousand_tasks_are_each_settled_once(make: Make) -> None:
    bench = make()
    claims = [claim("echo", {"value": i}, timeout=60) for i in range(10_000)]
    bench.start(*claims)
    settled = await bench.ended(*claims)
    assert [result_of(s) for s in settled if s] == list(range(10_000))
    assert len(bench.settled) == len(bench.observed) == 10_000
    assert bench.executor.busy == 0


async def test_two_thousand_tasks_in_threads_are_each_settled_once(make: Make, tmp_path: Path) -> None:
    bench = make()
    claims = [claim("thread-raises", {"text": str(i)}) for i in range(2_000)]
    bench.start(*claims)
    settled = await bench.ended(*claims)
    assert [error_of(s).message for s in settled if s] == [str(i) for i in range(2_000)]


def test_process_handlers_need_the_applications_path() -> None:
    with pytest.raises(ConfigError, match=r"tasks about-process, dies, .* give it as package.module:app"):
        Bench(tasks, app_path=None)


async def test_running_may_be_asked_from_another_thread(make: Make) -> None:
    bench = make()
    claimed = claim("waits", fence=4)
    bench.start(claimed)
    assert await asyncio.to_thread(bench.executor.running) == [(claimed.id, 4)]
    assert isinstance(bench.executor, Executor)
