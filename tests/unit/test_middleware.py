"""Middlewares: the order in which they run, and what they see."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from laneway import App, Context, InvalidTask, Middleware, NewTask, Retry
from laneway.adapters.memory import MemoryStore
from laneway.client import stand_in_context
from laneway.model.config import QueueConfig

DATA = stand_in_context("t")._data


class Noting(Middleware):
    """Notes what it sees in a list shared by all."""

    def __init__(self, name: str, notes: list[Any]) -> None:
        self.name, self.notes = name, notes

    def before_submit(self, task: NewTask) -> NewTask:
        self.notes.append(f"{self.name} submits {task.type}")
        task.labels = {**(task.labels or {}), self.name: "seen"}
        return task

    async def around_execute(self, context: Context, call_next: Callable[[], Awaitable[Any]]) -> Any:
        self.notes.append(f"{self.name} in {context.task_type}")
        try:
            return await call_next()
        finally:
            self.notes.append(f"{self.name} out")

    async def after_outcome(self, context: Context, result: Any, error: BaseException | None) -> None:
        self.notes.append((self.name, result, type(error).__name__))


async def memory() -> MemoryStore:
    store = MemoryStore()
    await store.configure(QueueConfig(), {}, expected=None)
    return store


async def test_the_first_is_the_outermost_and_hears_the_outcome_last() -> None:
    notes: list[Any] = []
    (chain,) = App("a", middleware=[Noting("a", notes), Noting("b", notes)]).execution_middleware()

    async def handler() -> int:
        notes.append("handler")
        return 5

    assert await chain.around_execute(DATA, handler) == 5
    assert notes == [
        "a in t",
        "b in t",
        "handler",
        "b out",
        "a out",
        ("b", 5, "NoneType"),
        ("a", 5, "NoneType"),
    ]


@pytest.mark.parametrize("error", [ValueError("x"), Retry(3), asyncio.CancelledError()])
async def test_what_a_handler_raises_passes_through_and_is_heard(error: BaseException) -> None:
    notes: list[Any] = []
    (chain,) = App("a", middleware=[Noting("a", notes)]).execution_middleware()

    async def handler() -> None:
        raise error

    with pytest.raises(type(error)):
        await chain.around_execute(DATA, handler)
    assert notes[-1] == ("a", None, type(error).__name__)


async def test_a_returned_outcome_is_heard_as_an_outcome_and_returned_as_it_was() -> None:
    notes: list[Any] = []
    (chain,) = App("a", middleware=[Noting("a", notes)]).execution_middleware()
    outcome = Retry(3)

    async def handler() -> Any:
        return outcome

    assert await chain.around_execute(DATA, handler) is outcome
    assert notes[-1] == ("a", None, "Retry")


def test_a_middleware_that_only_sees_submissions_costs_the_worker_nothing() -> None:
    class Submitting(Middleware):
        def before_submit(self, task: NewTask) -> NewTask:
            return task

    assert App("a", middleware=[Submitting()]).execution_middleware() == []
    assert App("a").execution_middleware() == []


async def test_submissions_pass_all_middlewares_once_and_their_labels_do_not_leak() -> None:
    notes: list[Any] = []
    app = App("a", middleware=[Noting("a", notes), Noting("b", notes)])

    @app.task(labels={"team": "x"})
    def t() -> None: ...

    await app.connect(await memory())
    call = t.call()
    first = await app.submit(call)
    again = await app.submit(call)
    assert notes == ["a submits t", "b submits t"]
    assert again.duplicate and again.id == first.id
    assert (await first.status()).labels == {"team": "x", "a": "seen", "b": "seen"}
    assert t.call().new.labels == {"team": "x"}


async def test_a_middleware_may_refuse() -> None:
    class Refusing(Middleware):
        def before_submit(self, task: NewTask) -> NewTask:
            raise InvalidTask("not on Sundays")

    app = App("a", middleware=[Refusing()])

    @app.task
    def t() -> None: ...

    await app.connect(await memory())
    with pytest.raises(InvalidTask, match="not on Sundays"):
        await t.submit()
    (result,) = await app.submit_many([t.call()])
    assert isinstance(result, InvalidTask)


async def test_the_lifespan_gives_the_state_and_is_left_at_the_end() -> None:
    notes: list[str] = []

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[str]:
        notes.append("in")
        yield "state"
        notes.append("out")

    async with App("a", lifespan=lifespan).run_lifespan() as state:
        assert (state, notes) == ("state", ["in"])
    assert notes == ["in", "out"]
    async with App("a").run_lifespan() as state:
        assert state is None
