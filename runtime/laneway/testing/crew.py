"""The one worker of a TestQueue: the real executor, fed by hand instead of by a loop with a lease."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from laneway.errors import UnknownTask
from laneway.execute.executor import Executor
from laneway.kit.ids import id_text, new_incarnation
from laneway.model.envelope import decode_stored
from laneway.model.settlement import Kind, Settlement
from laneway.ports.store import Claimed
from laneway.testing.handlers import Handlers
from laneway.testing.store import QueueStore

NAME = "test-queue"
_ANNOUNCED = 2


class Crew:
    """``make_executor`` is called with the callbacks of an Executor. ``ended`` counts attempts that have ended."""

    def __init__(
        self, store: QueueStore, app_name: str, handlers: Handlers, make_executor: Callable[..., Executor]
    ) -> None:
        self._store = store
        self._app_name = app_name
        self._handlers = handlers
        self._inc = new_incarnation()
        self._request = 1
        self._outcomes: list[Settlement] = []
        self.executor = make_executor(
            worker_name=NAME,
            on_settled=self._settled,
            on_dropped=lambda task_id: store.news.set(),
            may_start=lambda: True,
        )
        self.ended = 0
        self._asked: frozenset[bytes] = frozenset()

    @property
    def incarnation(self) -> bytes:
        """The worker's registration."""
        return self._inc

    @property
    def unsettled(self) -> bool:
        """Whether attempts have ended that the store does not know of yet."""
        return bool(self._outcomes)

    def _settled(self, settlement: Settlement) -> None:
        self._outcomes.append(settlement)
        self.ended += 1
        self._store.news.set()

    async def register(self) -> None:
        """Makes the worker known to the queue."""
        await self._store.register(self._inc, NAME, "direct", 1, 1, 0)

    async def settle(self) -> None:
        """Tells the store how attempts ended."""
        outcomes, self._outcomes = self._outcomes, []
        if not outcomes:
            return
        refused = await self._store.settle(self._inc, outcomes)
        if refused:
            raise AssertionError(f"nobody else could have these tasks, and yet their settlements were {refused}")

    async def claim(self, want: int, slots: int) -> tuple[Sequence[Claimed], int]:
        """Begins up to ``want`` tasks, once those that were cancelled have been asked to stop. Returns them, and in how
        many ms a lane that is at its rate may be asked again (-1: there is none).

        Raises:
            UnknownTask: there is no handler for one. It stays in the queue.
        """
        running = [id for id, _ in self.executor.running()]
        beat = await self._store.heartbeat(self._inc, _ANNOUNCED, slots, slots, running)
        for id in beat.cancel - self._asked:  # once: the next time would interrupt what it does to end well
            self.executor.cancel(id)
        self._asked = beat.cancel
        if want <= 0:
            return [], -1
        turn = await self._store.turn(self._inc, self._request, want, [])
        self._request += 1
        await self._refuse_strangers(turn.tasks)
        for task in turn.tasks:
            self.executor.start(task, turn.now_ms)
        return turn.tasks, turn.again_ms

    async def _refuse_strangers(self, tasks: Sequence[Claimed]) -> None:
        types = {decode_stored(task.envelope).body.type: task for task in tasks}
        unknown = sorted(types.keys() - self._handlers.keys())
        if not unknown:
            return
        # All of the batch goes back as it was: a refusal changes nothing.
        await self._store.settle(self._inc, [Settlement(Kind.RELEASE, task.id, task.fence) for task in tasks])
        name = unknown[0]
        has = ", ".join(sorted(self._handlers)) or "none"
        raise UnknownTask(
            f"app {self._app_name!r} has no task {name!r}, and task {id_text(types[name].id)} in its queue is one; it "
            f"has: {has}. Import the module that defines {name!r} before the queue is run, or say what stands in for "
            f"it: TestQueue(app, stubs={{{name!r}: lambda **arguments: None}})"
        )

    async def leave(self) -> None:
        """Ends what still runs, and gives it back."""
        await self.executor.stop(0.0)
        await self.settle()
        await self._store.deregister(self._inc)
