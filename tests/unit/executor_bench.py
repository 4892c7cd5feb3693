"""Holds an executor with what tests ask of it: claims, waiting with a deadline, and an exact account of endings."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from laneway.execute.executor import Executor
from laneway.execute.run import RunObservation
from laneway.kit.ids import new_task_id
from laneway.model.envelope import Body, Envelope, encode_envelope
from laneway.model.record import SUSPECT, AttemptError
from laneway.model.settlement import Settlement
from laneway.ports.store import Claimed

APP = "tests.unit.executor_app:tasks"
SECONDS = 20.0  # for anything that tests wait for


def claim(
    type: str,
    arguments: dict[str, Any] | None = None,
    *,
    timeout: float = 0.0,
    attempt: int = 1,
    max_attempts: int = 4,
    suspect: bool = False,
    fence: int = 1,
    id: bytes | None = None,
    tenant: str = "",
    flags: int = 0,
) -> Claimed:
    """A claimed task as Redis gives it."""
    body = Body(type, msgspec.msgpack.encode(arguments or {}), int(timeout * 1000))
    sent = encode_envelope(Envelope(1, 4, max_attempts, tenant, body))
    stored = (time.time_ns() // 1_000_000).to_bytes(6, "big") + sent
    return Claimed(id or new_task_id(), fence, attempt, 0, SUSPECT if suspect else flags, stored)


def error_of(settlement: Settlement) -> AttemptError:
    """The error in a settlement."""
    assert settlement.data is not None
    return msgspec.msgpack.decode(settlement.data, type=AttemptError)


def result_of(settlement: Settlement) -> Any:
    """The result in a settlement."""
    return None if settlement.data is None else msgspec.msgpack.decode(settlement.data)


async def until(condition: Callable[[], Any], what: str) -> None:
    """Waits for a condition that another thread or process brings about."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not within {SECONDS:g} s: {what}"
        await asyncio.sleep(0.005)


async def written(path: str | Path) -> str:
    """Waits for a handler's mark and returns its text."""
    file = Path(path)
    await until(file.exists, f"{path} written")
    return await asyncio.to_thread(file.read_text)


def gone(pid: int) -> bool:
    """Whether a process has ended (a zombie has)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


class Bench:
    """An executor and all that it told."""

    def __init__(self, tasks: Any, **options: Any) -> None:
        self.settled: dict[bytes, Settlement] = {}
        self.dropped: list[bytes] = []
        self.observed: list[RunObservation] = []
        self.fresh = True
        self._news = asyncio.Event()
        options = {"app_path": APP, "threads": 4, "processes": 2, "observe": self.observed.append, **options}
        self.executor = Executor(
            tasks,
            worker_name="w1",
            on_settled=self._on_settled,
            on_dropped=self._on_dropped,
            may_start=lambda: self.fresh,
            lane_name=lambda n: f"lane-{n}",
            **options,
        )

    def _on_settled(self, settlement: Settlement) -> None:
        assert settlement.id not in self.settled, "settled twice"
        assert settlement.id not in self.dropped, "settled and dropped"
        self.settled[settlement.id] = settlement
        self._news.set()

    def _on_dropped(self, id: bytes) -> None:
        assert id not in self.settled, "dropped and settled"
        assert id not in self.dropped, "dropped twice"
        self.dropped.append(id)
        self._news.set()

    def start(self, *claimed: Claimed) -> None:
        """Starts tasks."""
        for one in claimed:
            self.executor.start(one, time.time_ns() // 1_000_000)

    async def ended(self, *claimed: Claimed) -> list[Settlement | None]:
        """Waits until all have ended; None for a dropped one."""
        async with asyncio.timeout(SECONDS):
            while not all(c.id in self.settled or c.id in self.dropped for c in claimed):
                self._news.clear()
                await self._news.wait()
        return [self.settled.get(c.id) for c in claimed]

    async def run(self, type: str, arguments: dict[str, Any] | None = None, **options: Any) -> Settlement:
        """Runs one task to its settlement."""
        claimed = claim(type, arguments, **options)
        self.start(claimed)
        (settlement,) = await self.ended(claimed)
        assert settlement is not None, "it was dropped"
        return settlement
