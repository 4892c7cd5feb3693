"""What a handler's context says, and what extend answers."""

import logging
import time
from datetime import UTC, datetime

import pytest

from laneway import App, ConfigError, Context, LeaseLost, stand_in_context
from laneway.kit.ids import id_text, new_task_id
from laneway.model.context import ContextData


def data() -> ContextData:
    import threading

    return ContextData(
        id=new_task_id(), fence=77, type="t", attempt=2, max_attempts=4, crashes=0, lane="high",
        tenant="acme", priority=5,
        labels={"a": "b"}, trace="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", worker="w-1",
        submitted_ms=1_700_000_000_000, started_ms=1_700_000_000_500, deadline=time.monotonic() + 30,
        cancelled=threading.Event(), arguments={}, state={"db": 1},
    )  # fmt: skip


def test_a_context_says_what_the_worker_knows() -> None:
    known = data()
    ctx = Context(known)
    assert (ctx.task_id, ctx.task_type, ctx.attempt, ctx.max_attempts) == (id_text(known.id), "t", 2, 4)
    assert (ctx.fence, ctx.tenant, ctx.lane, ctx.priority, ctx.labels) == (77, "acme", "high", 5, {"a": "b"})
    assert (ctx.worker, ctx.state, ctx.trace) == ("w-1", {"db": 1}, known.trace)
    assert ctx.submitted_at == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert ctx.deadline == known.deadline and ctx.remaining is not None and 0 < ctx.remaining <= 30
    assert ctx.cancelled is known.cancelled
    known.deadline = time.monotonic() - 1
    assert ctx.remaining == 0.0
    known.deadline = None
    assert ctx.remaining is None


def test_the_logger_carries_task_attempt_and_trace(caplog: pytest.LogCaptureFixture) -> None:
    known = data()
    with caplog.at_level(logging.INFO):
        Context(known).logger.info("halfway", done=5)
    (record,) = caplog.records
    assert record.name == "laneway.task.t"
    for part in (
        "halfway",
        "done=5",
        f"task={id_text(known.id)}",
        "attempt=2",
        "trace=0af7651916cd43dd8448eb211c80319c",
    ):
        assert part in record.getMessage()


async def test_extend_is_quiet_while_the_task_is_held_and_notes_a_requested_cancellation() -> None:
    known, asked = data(), []
    answers: list[bool | None] = [False, True, None]

    async def extend(id: bytes, fence: int) -> bool | None:
        asked.append((id, fence))
        return answers.pop(0)

    ctx = App("a").context_factory(extend)(known)
    await ctx.extend()
    assert not ctx.cancelled.is_set()
    await ctx.extend()
    assert ctx.cancelled.is_set()
    with pytest.raises(LeaseLost, match="attempt 2 does not hold it"):
        await ctx.extend()
    assert asked == [(known.id, 77)] * 3


async def test_extend_without_a_worker_says_so() -> None:
    with pytest.raises(ConfigError, match="worker's own process"):
        await App("a").make_context(data()).extend()


async def test_a_stand_in_holds_its_task() -> None:
    ctx = stand_in_context("t", attempt=3)
    await ctx.extend()
    assert (ctx.attempt, ctx.task_type, ctx.deadline) == (3, "t", None)
