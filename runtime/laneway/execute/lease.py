"""The lease of a worker: a heartbeat from a thread of its own, so that a busy event loop does not lose it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import structlog

from laneway.errors import LanewayError
from laneway.ports.store import Beat, TaskStore

log = structlog.get_logger("laneway.lease")

REGISTERED, ANNOUNCED, DRAINING, STALLED = 1, 2, 3, 4


def boottime() -> float:
    """Seconds that go on while the machine is suspended: a lease does too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class Lease:
    """Beats for one incarnation after another.

    ``make_store`` gives the thread a store of its own; ``known`` gives the tasks that the worker runs or has still to
    settle, with their fences; ``worked`` how many handlers have ended so far and how many ms they ran together;
    ``progress_age`` how many seconds ago the event loop last moved. Over ``stall_after`` the worker says that it is
    stalled: it keeps what it runs and gets nothing new. ``on_beat`` is called on the event loop, with what was known
    when the beat was made.
    """

    def __init__(
        self,
        make_store: Callable[[], TaskStore],
        *,
        interval: float,
        lease: float,
        known: Callable[[], dict[bytes, int]],
        worked: Callable[[], tuple[int, float]],
        progress_age: Callable[[], float],
        on_beat: Callable[[bytes, Beat, dict[bytes, int]], None],
        slots: Callable[[], int],
        window: Callable[[], int],
        stall_after: float = 10.0,
    ) -> None:
        self._make_store = make_store
        self._interval = interval
        self._lease = lease
        self._known = known
        self._worked = worked
        self._told = (0, 0.0)
        self._progress_age = progress_age
        self._on_beat = on_beat
        self._slots, self._window = slots, window
        self._stall_after = stall_after
        self._inc = b""
        self._announced = False
        self._draining = False
        self._steady = 0
        self._acknowledged = 0.0
        self._stopping = False
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.misses = 0

    def start(self) -> None:
        """Starts the thread. It beats once ``hold`` has named an incarnation."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="laneway-heartbeat", daemon=True)
        self._thread.start()

    def hold(self, inc: bytes, since: float) -> None:
        """Beats for ``inc`` from now on, as one that gets no work yet. ``since``: boottime before its registration was
        sent."""
        self._inc = inc
        self._announced = False
        self._acknowledged = since
        self._wake.set()

    def announce(self) -> None:
        """Says with the next beat, which comes at once, that work can be taken."""
        self._announced = True
        self._wake.set()

    def drain(self) -> None:
        """Tells with the next beat, which comes at once, that no more work is wanted."""
        self._draining = True
        self._wake.set()

    def fresh(self) -> bool:
        """Whether the lease surely still holds: measured from when the last acknowledged beat was *sent*."""
        return boottime() - self._acknowledged < self._lease

    def _run(self) -> None:
        asyncio.run(self._beat_on())

    async def _beat_on(self) -> None:
        store = self._make_store()
        try:
            while not self._stopping:
                started = time.monotonic()
                if self._inc:
                    await self._beat(store)
                self._wake.wait(max(0.0, self._interval - (time.monotonic() - started)))
                self._wake.clear()
        finally:
            await store.close()

    async def _beat(self, store: TaskStore) -> None:
        inc, sent = self._inc, boottime()
        age, known = self._progress_age(), self._known()
        # While the loop stands still an answer may lie unread, so what it does not know proves nothing.
        self._steady = self._steady + 1 if age < self._interval else 0
        state = STALLED if age > self._stall_after else ANNOUNCED if self._announced else REGISTERED
        if self._draining:
            state = DRAINING
        worked = self._worked()
        ended, took_ms = worked[0] - self._told[0], max(0.0, worked[1] - self._told[1])
        call = store.heartbeat(
            inc, state, self._slots(), self._window(), list(known),
            heal=self._steady > 2, ended=ended, took_ms=took_ms,
        )  # fmt: skip
        try:
            beat = await asyncio.wait_for(call, self._lease)
        except (LanewayError, TimeoutError):
            # Redis is away. Nothing is lost by that: the reaper gives everybody a full lease when it is back.
            self.misses += 1
            return
        except Exception:
            # A mistake somewhere must not end the beats for good: that would cost the worker all that it runs.
            self.misses += 1
            log.exception("a beat failed")
            return
        if inc != self._inc:
            return
        if beat.status == "ok":
            self._acknowledged = sent
            self._told = worked
        loop = self._loop
        if loop is not None:
            with suppress(RuntimeError):  # the loop has closed: nobody is left to tell
                loop.call_soon_threadsafe(self._on_beat, inc, beat, known)

    async def stop(self) -> None:
        """Ends the thread; the lease runs out or is given up by deregistering."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
            self._thread = None
