"""A configured queue on a real Redis for tests of the command line, and the command run against it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from click.testing import CliRunner, Result

from laneway.adapters.redis import RedisStore
from laneway.cli.main import main
from laneway.kit.ids import id_text, new_incarnation
from laneway.model.config import LaneConfig, QueueConfig
from laneway.model.record import AttemptError, encode_error
from laneway.model.settlement import Kind, Settlement
from laneway.ports.store import QueueStats
from laneway.submit import NewTask, Receipt, Submitter

LANES = (LaneConfig(n=1, name="default"), LaneConfig(n=2, name="high"))
TRACEBACK = 'Traceback (most recent call last):\n  File "x.py", line 1\nValueError: it broke\n'

_T = TypeVar("_T")


@dataclass
class CliQueue:
    """The queue ``orders`` on one Redis."""

    url: str
    cluster: bool = False

    def configure(self, **options: Any) -> None:
        """Writes the queue's configuration: two lanes, and what ``options`` say."""
        config = QueueConfig(**{"lanes": LANES, **options})
        assert self._with(lambda store: store.configure(config, {}, expected=None))

    def run(self, *args: str, input: str | bytes | None = None) -> Result:
        """Runs ``laneway args`` in this process."""
        env = {"LANEWAY_REDIS_URL": self.url, "LANEWAY_QUEUE": "orders"}
        return CliRunner(env=env).invoke(main, list(args), input=input)

    def json(self, *args: str, code: int = 0, input: str | None = None) -> Any:
        """The one JSON document that ``laneway args --json`` writes."""
        result = self.run(*args, "--json", input=input)
        assert result.exit_code == code, result.output
        (line,) = result.stdout.splitlines()
        return json.loads(line)

    def submit(self, n: int, **fields: Any) -> list[str]:
        """The ids of ``n`` new tasks."""
        tasks = [NewTask(**{"type": "charge", **fields}) for _ in range(n)]
        results = self._with(lambda store: Submitter(store).submit_many(tasks))
        assert all(isinstance(result, Receipt) for result in results)
        return [result.text for result in results if isinstance(result, Receipt)]

    def work(self, n: int, kind: Kind, data: bytes | None = None) -> list[str]:
        """Takes ``n`` tasks and settles all of them alike; returns their ids."""

        async def turn(store: RedisStore) -> list[str]:
            inc = new_incarnation()
            await store.register(inc, "w1", "direct", n, n, 0)
            await store.heartbeat(inc, 2, n, n, [])
            turn = await store.turn(inc, 1, n, [])
            assert len(turn.tasks) == n
            settled = [Settlement(kind, task.id, task.fence, data=data) for task in turn.tasks]
            assert await store.settle(inc, settled) == {}
            await store.deregister(inc)
            return [id_text(task.id) for task in turn.tasks]

        return self._with(turn)

    def kill(self, n: int, message: str = "it broke", **fields: Any) -> list[str]:
        """The ids of ``n`` new dead letters."""
        ids = self.submit(n, **fields)
        error = AttemptError("ValueError", message, 1_700_000_000_000, 1, TRACEBACK, "w1")
        assert self.work(n, Kind.DEAD, encode_error(error)) == ids
        return ids

    def stats(self) -> QueueStats:
        """The queue's numbers."""
        return self._with(lambda store: store.stats())

    def counts(self) -> dict[str, int]:
        """The states that have tasks, and how many."""
        return {name: n for name, n in self.stats().counts.items() if n}

    def _with(self, work: Callable[[RedisStore], Awaitable[_T]]) -> _T:
        async def run() -> _T:
            store = RedisStore(self.url, "orders", cluster=self.cluster)
            try:
                return await work(store)
            finally:
                await store.close()

        return asyncio.run(run())
