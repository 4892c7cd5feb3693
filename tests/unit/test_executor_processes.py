"""The executor with handlers in child processes: real forks, real signals, real deaths."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.executor_app import tasks
from tests.unit.executor_bench import SECONDS, Bench, claim, error_of, gone, result_of, until, written

from laneway.execute.children import ChildUnavailable
from laneway.execute.loading import load_tasks
from laneway.model.settlement import Kind

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks")

Make = Callable[..., Bench]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    """Makes benches, stops their executors after the test and sees that no process is left."""
    benches: list[Bench] = []

    def bench(**options: Any) -> Bench:
        options = {"kill_after": 0.3, **options}
        benches.append(Bench(options.pop("tasks", tasks), **options))
        return benches[-1]

    yield bench
    for one in benches:
        server = server_pid(one)
        await one.executor.stop(0.0)
        assert not server or gone(server)


def server_pid(bench: Bench) -> int:
    """The bench's fork server, 0 when it never ran."""
    children = getattr(bench.executor, "_isolation", None)
    return children.server.pid if children is not None else 0


async def test_a_handler_in_a_process_returns_its_result_and_gets_a_context(make: Make) -> None:
    settlement = await make().run("about-process", attempt=2, fence=9, tenant="acme", timeout=30)
    result = result_of(settlement)
    assert result.pop("pid") != os.getpid()
    assert result == {
        "attempt": 2, "fence": 9, "lane": "lane-1", "tenant": "acme", "deadline": True, "worker": "w1",
    }  # fmt: skip


async def test_a_warm_child_serves_one_task_after_another(make: Make) -> None:
    bench = make()
    pids = [result_of(await bench.run("about-process"))["pid"] for _ in range(3)]
    assert len(set(pids)) == 1


async def test_a_failure_in_a_process_is_decided_by_the_tasks_policy(make: Make) -> None:
    bench = make()
    first, last = (
        await bench.run("raises", {"text": "bad"}),
        await bench.run("raises", {"text": "bad"}, attempt=4),
    )
    assert [(s.kind, s.delay_ms) for s in (first, last)] == [(Kind.RETRY, 2_000), (Kind.DEAD, 0)]
    assert (error_of(first).kind, error_of(first).message, error_of(first).worker) == (
        "ValueError",
        "bad",
        "w1",
    )
    assert "in raises" in error_of(first).traceback


async def test_arguments_that_do_not_fit_a_process_handler_are_dead(make: Make) -> None:
    settlement = await make().run("raises", {"forbidden": 1})
    assert (settlement.kind, error_of(settlement).kind) == (Kind.DEAD, "InvalidTask")


@pytest.mark.parametrize("type", ["raises", "about-process"])
async def test_a_decoder_that_fails_otherwise_is_a_failure_and_no_crash(make: Make, type: str) -> None:
    settlement = await make().run(type, {"broken": 1})
    assert (settlement.kind, settlement.crashed) == (Kind.RETRY, False)
    assert error_of(settlement).message == "the decoder is broken"


async def test_the_timeout_counts_from_when_there_is_a_process(make: Make) -> None:
    # Starting an interpreter and loading the application takes longer than this task's timeout.
    settlement = await make().run("about-process", timeout=0.05)
    assert settlement.kind is Kind.COMPLETE


async def test_a_lease_that_grew_stale_while_a_process_was_made_begins_nothing(make: Make, tmp_path: Path) -> None:
    bench = make()
    claimed = claim("obeys", {"started": str(tmp_path / "s")})
    bench.start(claimed)
    await asyncio.sleep(0)
    bench.fresh = False
    assert await bench.ended(claimed) == [None]
    assert not (tmp_path / "s").exists()


async def test_a_child_is_not_used_again_after_it_was_asked_to_stop(make: Make, tmp_path: Path) -> None:
    bench = make(processes=1)
    for number in range(3):
        claimed = claim("obeys", {"started": str(tmp_path / str(number))})
        bench.start(claimed)
        await written(tmp_path / str(number))
        bench.executor.cancel(claimed.id)
        await bench.ended(claimed)
        assert (await bench.run("about-process")).kind is Kind.COMPLETE


async def test_a_big_payload_and_a_big_result_pass(make: Make) -> None:
    settlement = await make(max_result=50_000_000).run("echo", {"value": "x" * 5_000_000}, suspect=True)
    assert len(result_of(settlement)) == 5_000_000


@pytest.mark.parametrize(("how", "text"), [("exit", "exited with code 7"), ("kill", "killed by signal 9 (SIGKILL)")])
async def test_a_child_that_dies_by_itself_proves_its_task_guilty(make: Make, how: str, text: str) -> None:
    bench = make()
    settlement = await bench.run("dies", {"how": how})
    assert (settlement.kind, settlement.delay_ms, settlement.crashed) == (Kind.RETRY, 2_000, True)
    assert error_of(settlement).kind == "crash"
    assert text in error_of(settlement).message
    assert bench.observed[0].crashed
    assert (await bench.run("about-process")).kind is Kind.COMPLETE


async def test_a_child_killed_in_mid_task_harms_no_other(make: Make, tmp_path: Path) -> None:
    bench = make()
    victim = claim("dies", {"how": "wait", "started": str(tmp_path / "victim")})
    other = claim("obeys", {"started": str(tmp_path / "other")})
    bench.start(victim, other)
    await written(tmp_path / "other")
    os.kill(int(await written(tmp_path / "victim")), signal.SIGKILL)
    (settlement,) = await bench.ended(victim)
    assert settlement is not None
    assert (settlement.kind, settlement.crashed) == (Kind.RETRY, True)
    assert bench.executor.running() == [(other.id, 1)]


async def test_a_crash_at_the_last_attempt_is_a_dead_letter(make: Make) -> None:
    settlement = await make().run("dies", {"how": "exit"}, attempt=4)
    assert (settlement.kind, settlement.crashed) == (Kind.DEAD, True)


async def test_a_process_past_its_timeout_is_asked_and_may_clean_up(make: Make, tmp_path: Path) -> None:
    bench = make(kill_after=SECONDS)
    settlement = await bench.run("obeys", {"started": str(tmp_path / "s")}, timeout=0.3)
    assert (settlement.kind, settlement.crashed, error_of(settlement).kind) == (Kind.RETRY, False, "timeout")
    assert (tmp_path / "s.cleaned").exists()
    pid = int((tmp_path / "s").read_text())
    await until(lambda: gone(pid), "a child that was asked to stop ends")


async def test_a_process_that_ignores_sigterm_is_killed_with_what_it_started(make: Make, tmp_path: Path) -> None:
    bench = make()
    claimed = claim("stubborn", {"started": str(tmp_path / "s")}, timeout=1.0)
    bench.start(claimed)
    pid, helper = map(int, (await written(tmp_path / "s")).split())
    (settlement,) = await bench.ended(claimed)
    assert settlement is not None
    assert (settlement.kind, settlement.crashed) == (Kind.RETRY, False)
    assert error_of(settlement).message == (
        "'stubborn' ran longer than its timeout of 1 s, ignored SIGTERM for 0.3 s and was killed"
    )
    assert gone(pid)
    await until(lambda: gone(helper), "the helper that it started ends")


@pytest.mark.parametrize("type", ["obeys", "stubborn"])
async def test_a_cancelled_process_settles_as_cancel(make: Make, tmp_path: Path, type: str) -> None:
    bench = make()
    claimed = claim(type, {"started": str(tmp_path / "s")})
    bench.start(claimed)
    await written(tmp_path / "s")
    bench.executor.cancel(claimed.id)
    (settlement,) = await bench.ended(claimed)
    assert settlement is not None
    assert (settlement.kind, settlement.crashed) == (Kind.CANCEL, False)


async def test_a_lost_process_is_stopped_and_nothing_is_settled(make: Make, tmp_path: Path) -> None:
    bench = make()
    claimed = claim("stubborn", {"started": str(tmp_path / "s")})
    bench.start(claimed)
    pid = int((await written(tmp_path / "s")).split()[0])
    bench.executor.lose(claimed.id)
    assert await bench.ended(claimed) == [None]
    assert gone(pid)


async def test_processes_are_bounded_and_what_waits_can_be_cancelled(make: Make, tmp_path: Path) -> None:
    bench = make(processes=1)
    first, second = (claim("obeys", {"started": str(tmp_path / name)}) for name in "ab")
    bench.start(first, second)
    await written(tmp_path / "a")
    bench.executor.cancel(second.id)
    (settlement,) = await bench.ended(second)
    assert settlement is not None
    assert settlement.kind is Kind.CANCEL
    assert not (tmp_path / "b").exists()


async def test_stopping_past_its_grace_kills_processes_and_hands_their_tasks_back(make: Make, tmp_path: Path) -> None:
    bench = make(processes=2)
    claims = [claim("stubborn", {"started": str(tmp_path / name)}) for name in "abc"]
    bench.start(*claims)
    pids = [int(pid) for name in "ab" for pid in (await written(tmp_path / name)).split()]
    server = server_pid(bench)
    await bench.executor.stop(0.05)
    assert [s.kind for s in bench.settled.values()] == [Kind.RELEASE] * 3
    assert gone(server)
    for pid in pids:
        await until(lambda pid=pid: gone(pid), f"process {pid} ends")  # type: ignore[misc]


async def test_middleware_sees_how_a_process_fared(make: Make) -> None:
    seen: list[str] = []

    class Look:
        async def around_execute(self, context: Any, call_next: Callable[[], Any]) -> Any:
            try:
                result = await call_next()
            except Exception as error:
                seen.append(f"{context.type} {error}")
                raise
            seen.append(f"{context.type} {result}")
            return result

    bench = make(middleware=[Look()])
    good, bad = await bench.run("about-process"), await bench.run("raises", {"text": "x"})
    assert (good.kind, bad.kind, error_of(bad).kind) == (Kind.COMPLETE, Kind.RETRY, "ValueError")
    assert seen == ["about-process complete", "raises retry"]


# -- suspects


async def test_a_suspect_that_kills_its_process_kills_only_its_child(make: Make) -> None:
    bench = make()
    guilty = claim("dies-async", {"code": 9}, suspect=True)
    innocents = [claim("where", suspect=True) for _ in range(5)]
    beside = claim("where")
    bench.start(guilty, *innocents, beside)
    settled = await bench.ended(guilty, *innocents, beside)
    assert all(settled)
    first, *others, own = [s for s in settled if s]
    assert (first.kind, first.crashed, error_of(first).message) == (
        Kind.RETRY,
        True,
        "its process exited with code 9",
    )
    pids = {result_of(s) for s in others}
    assert len(pids) == 5
    assert os.getpid() not in pids
    assert result_of(own) == os.getpid()


@pytest.mark.parametrize(("type", "arguments"), [("about", None), ("about-process", None)])
async def test_suspects_of_every_kind_run_in_a_fresh_child(
    make: Make, type: str, arguments: dict[str, Any] | None
) -> None:
    bench = make()
    pids = [result_of(await bench.run(type, arguments, suspect=True))["pid"] for _ in range(3)]
    assert len({*pids, os.getpid()}) == 4


async def test_an_async_suspect_past_its_timeout_is_cancelled_in_its_child(make: Make) -> None:
    settlement = await make(kill_after=SECONDS).run("waits", timeout=0.2, suspect=True)
    assert (settlement.kind, settlement.crashed, error_of(settlement).kind) == (Kind.RETRY, False, "timeout")


async def test_fifty_suspects_start_within_seconds(make: Make, tmp_path: Path) -> None:
    bench = make()
    await bench.executor.prepare()
    claims = [claim("waits", {"started": str(tmp_path / str(i))}, suspect=True) for i in range(50)]
    began = time.monotonic()
    bench.start(*claims)
    await until(lambda: all((tmp_path / str(i)).exists() for i in range(50)), "50 suspects started")
    seconds = time.monotonic() - began
    print(f"50 suspects started in {seconds:.2f} s")
    assert seconds < 5  # about half a second on two idle processors; others use this machine too
    for claimed in claims:
        bench.executor.cancel(claimed.id)
    settled = await bench.ended(*claims)
    assert {s.kind for s in settled if s} == {Kind.CANCEL}


async def test_without_the_applications_path_a_suspect_runs_here(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    here = {"where": tasks["where"]}
    bench = make(tasks=here, app_path=None)
    with caplog.at_level("WARNING"):
        results = [result_of(await bench.run("where", suspect=True)) for _ in range(2)]
    assert results == [os.getpid()] * 2
    assert caplog.text.count("can't be isolated") == 1


# -- the fork server


async def test_an_application_that_can_not_be_loaded_fails_its_tasks_with_the_reason(make: Make) -> None:
    bench = make(app_path="tests.unit.no_such_module:app")
    with pytest.raises(ChildUnavailable, match=r"there is no module 'tests\.unit\.no_such_module'"):
        await bench.executor.prepare()
    settlement = await bench.run("about-process")
    assert (settlement.kind, settlement.crashed) == (Kind.RETRY, False)
    assert error_of(settlement).kind == "ChildUnavailable"


async def test_a_dead_fork_server_takes_its_children_along_and_is_started_again(make: Make, tmp_path: Path) -> None:
    bench = make()
    claimed = claim("obeys", {"started": str(tmp_path / "s")})
    bench.start(claimed)
    pid, server = int(await written(tmp_path / "s")), server_pid(bench)
    os.kill(server, signal.SIGKILL)
    (settlement,) = await bench.ended(claimed)
    assert settlement is not None
    assert (settlement.kind, settlement.crashed, error_of(settlement).kind) == (Kind.RETRY, False, "crash")
    await until(lambda: gone(pid), "the orphan ends")
    assert (await bench.run("about-process")).kind is Kind.COMPLETE
    assert server_pid(bench) != server


def test_processes_work_on_uvloop_as_well(tmp_path: Path) -> None:
    uvloop = pytest.importorskip("uvloop", exc_type=ImportError)

    async def main() -> None:
        assert type(asyncio.get_running_loop()).__module__.startswith("uvloop")
        bench = Bench(tasks, kill_after=0.3)
        claims = [
            claim("about-process"),
            claim("stubborn", {"started": str(tmp_path / "s")}, timeout=1.0),
            claim("dies-async", {"code": 9}, suspect=True),
            claim("echo", {"value": "x" * 500_000}, suspect=True),
        ]
        bench.start(*claims)
        good, late, dead, big = await bench.ended(*claims)
        assert good and late and dead and big
        assert (good.kind, error_of(late).kind, dead.crashed) == (Kind.COMPLETE, "timeout", True)
        assert len(result_of(big)) == 500_000
        await bench.executor.stop(0.0)

    uvloop.run(main())


async def test_children_end_with_a_worker_that_is_killed(tmp_path: Path) -> None:
    script = f"""
import asyncio
from tests.unit.executor_app import tasks
from tests.unit.executor_bench import Bench, claim
async def main():
    bench = Bench(tasks)
    bench.start(claim("stubborn", {{"started": {str(tmp_path / "s")!r}}}))
    await asyncio.Event().wait()
asyncio.run(main())
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, env=environment, cwd=Path(__file__).parents[2]
    )
    pids = [int(pid) for pid in (await written(tmp_path / "s")).split()]
    worker.kill()
    await worker.wait()
    for pid in pids:
        await until(lambda pid=pid: gone(pid), f"process {pid} ends")  # type: ignore[misc]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nonsense", "'nonsense' is not a path to an object: write it as package.module:name"),
        (":app", "':app' is not a path"),
        ("no.such:app", "there is no module 'no' on the import path"),
        ("tests.unit.executor_app:nothing", "tests.unit.executor_app has no 'nothing'"),
        ("tests.unit.executor_app:MARK", "is a ContextVar, not an application: it has no mapping `tasks`"),
    ],
)
def test_a_wrong_path_to_an_application_says_what_is_wrong(path: str, message: str) -> None:
    from laneway.errors import ConfigError

    with pytest.raises(ConfigError) as caught:
        load_tasks(path)
    assert message in str(caught.value)
