"""When tasks submitted now would start: predicted anew with each look at a queue, and compared with what came true."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from typing import Final, cast

import msgspec
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from laneway.errors import LanewayError
from laneway.gateway.watch import QueueWatch
from laneway.kit.health import Health
from laneway.kit.logs import get_logger
from laneway.kit.metrics import ETA_ERROR_BUCKETS, Timer, gauge_family, histogram_family
from laneway.kit.service import Service
from laneway.policy.eta import Eta, etas
from laneway.policy.load import RUNS_S, Rates, load_of, rates
from laneway.ports.events import SeenStore
from laneway.ports.history import FINE
from laneway.ports.store import QueueStats, TaskStore

_log = get_logger(__name__)

_RATES_EACH_S: Final = 2.0
#: Rates that are older than this are none.
_RATES_LAST_S: Final = 60.0
_PATIENCE_S: Final = 2.0
#: Predictions that are older than this are compared with nothing.
_STALE_S: Final = 5.0
#: Predicting takes at most this share of the time.
_SHARE: Final = 0.02
#: Of each lane, one task in so many seconds is compared with its prediction,
_SAMPLE_EACH_S: Final = 1.0
#: so many at once,
_MOST_PENDING: Final = 300
#: and until so long after it should have started, and not over an hour.
_GIVE_UP_S: Final = 3600.0
_LOOKED_UP: Final = 50


class ErrorTimer(Timer):
    """A histogram of differences, which may be negative."""

    def observe(self, value: float) -> None:
        """Counts one difference."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Pending(msgspec.Struct):
    """A task that was predicted to start ``seconds`` after its submission; times are of ``time.monotonic()``."""

    lane: str
    seconds: float
    since: float
    look_at: float


class LaneEtas(Service):
    """The predictions of one queue's lanes, made after each look of its watch."""

    def __init__(self, queue: str, store: TaskStore, watch: QueueWatch, *, health: Health | None = None) -> None:
        super().__init__(f"etas:{queue}", health=health, allowed_silence=60.0, grace=1.0)
        self.queue = queue
        self.errors: dict[str, ErrorTimer] = {}
        self._store, self._watch = store, watch
        self._known: dict[str, Eta] = {}
        self._known_at = -1e9
        self._took = 0.0
        self._rates = Rates()
        self._rates_at = -1e9
        self._rates_tried = -1e9
        self._pending: dict[bytes, Pending] = {}
        self._sampled_at: dict[str, float] = {}
        self._bell = asyncio.Event()

    @property
    def known(self) -> Mapping[str, Eta]:
        """The predictions by lane, as of the last look; none while Redis is away."""
        return self._known

    def seconds(self, lane: str) -> float | None:
        """In how many seconds a task submitted now would start; None: it can't be told."""
        found = self._known.get(lane)
        return None if found is None or found.seconds is None else round(found.seconds, 3)

    def of(self, lane: str) -> Eta | None:
        """The prediction of a lane; None when there is none."""
        return self._known.get(lane)

    async def fresh(self, age: float = 3.0) -> Mapping[str, Eta]:
        """The predictions, made now unless they are at most ``age`` seconds old.

        Raises:
            LanewayError: the queue can't be read.
        """
        if time.monotonic() - self._known_at > max(age, self._took / _SHARE):
            await self.predict(await self._store.stats())
        return self._known

    async def predict(self, stats: QueueStats) -> None:
        """Predicts from a queue's sizes."""
        await self._refresh_rates()
        began = time.perf_counter()
        found = etas(load_of(stats, await self._store.config(), self._rates))
        self._took = time.perf_counter() - began
        self._known = {eta.lane: eta for eta in found}
        self._known_at = time.monotonic()

    async def run(self) -> None:
        """Predicts after each look until stopped."""
        self._watch.listeners.add(self._bell.set)
        try:
            while not self.stopping:
                await self._rung()
                if self._watch.latest is None:
                    self._known = {}
                elif time.monotonic() - self._known_at >= self._took / _SHARE:
                    await self._quietly()
                self.touch()
        finally:
            self._watch.listeners.discard(self._bell.set)

    async def stop(self) -> None:
        """Ends it."""
        self._stopping.set()
        self._bell.set()
        await super().stop()

    async def _rung(self) -> None:
        await self._bell.wait()
        self._bell.clear()

    async def _quietly(self) -> None:
        assert self._watch.latest is not None
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self.predict(self._watch.latest)
                await self._compare()
        except (LanewayError, TimeoutError) as error:
            _log.debug("can't predict now", queue=self.queue, error=str(error))

    async def _refresh_rates(self) -> None:
        now = time.monotonic()
        if now - self._rates_tried < _RATES_EACH_S:
            return
        self._rates_tried = now
        if now - self._rates_at > _RATES_LAST_S:
            self._rates = Rates()
        depth = await self._store.depth(0)
        at = depth.now_ms / 1000
        history = cast(SeenStore, self._store).history
        buckets = await history.read(FINE, int(at) - RUNS_S, int(at) + FINE.width)
        self._rates = rates(buckets, at, depth.run_ms)
        self._rates_at = now

    # -- how wrong it is

    def submitted(self, id: bytes, lane: str) -> None:
        """A task like any other was submitted just now: one a second and lane is remembered, and compared later."""
        now = time.monotonic()
        if now - self._sampled_at.get(lane, -1e9) < _SAMPLE_EACH_S or len(self._pending) >= _MOST_PENDING:
            return
        seconds = self.seconds(lane)
        if seconds is None or now - self._known_at > _STALE_S:
            return
        self._sampled_at[lane] = now
        self._pending[id] = Pending(lane, seconds, now, now + max(1.0, seconds))

    async def _compare(self) -> None:
        """Looks up those that should have started by now."""
        now = time.monotonic()
        due = [id for id, pending in self._pending.items() if pending.look_at <= now][:_LOOKED_UP]
        if not due:
            return
        for id, view in zip(due, await self._store.get(due), strict=True):
            pending = self._pending[id]
            record = view.record if view else None
            if view is not None and record is not None and record.started_ms and record.attempts == 1:
                waited = max(0.0, (record.started_ms - view.envelope.submitted_ms) / 1000)
                timer = self.errors.setdefault(pending.lane, ErrorTimer(ETA_ERROR_BUCKETS))
                timer.observe(pending.seconds - waited)
                del self._pending[id]
            elif view is None or view.state.final or (record is not None and record.attempts > 1):
                del self._pending[id]  # when it started is not known any more, or it never did
            elif now - pending.since > max(10 * pending.seconds, 60.0) or now - pending.since > _GIVE_UP_S:
                # It has waited far longer than predicted: that much is known.
                timer = self.errors.setdefault(pending.lane, ErrorTimer(ETA_ERROR_BUCKETS))
                timer.observe(pending.seconds - (now - pending.since))
                del self._pending[id]
            else:
                pending.look_at = now + max(1.0, 0.1 * (now - pending.since))


class EtaCollector(Collector):
    """The predictions of every queue as metrics, and their errors."""

    def __init__(self) -> None:
        self.queues: dict[str, LaneEtas] = {}

    def describe(self) -> Iterator[Metric]:
        """The families without samples."""
        yield from EtaCollector().collect()

    def collect(self) -> Iterator[Metric]:
        """Every family. A lane of which nothing can be told has no sample."""
        queues = list(self.queues.items())
        yield gauge_family(
            "laneway_lane_eta_seconds",
            (
                ((queue, lane), eta.seconds)
                for queue, each in queues
                for lane, eta in each.known.items()
                if eta.seconds is not None
            ),
        )
        yield histogram_family(
            "laneway_eta_error_seconds",
            [((queue, lane), timer) for queue, each in queues for lane, timer in list(each.errors.items())],
        )
