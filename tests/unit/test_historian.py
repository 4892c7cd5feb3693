"""Who keeps the history: counts are told once whatever fails, one poller samples, workers tell what is new."""

from collections.abc import Callable, Sequence

import pytest

from laneway.adapters.memory import MemoryStore, VirtualClock
from laneway.errors import LanewayError, OutcomeUnknown, Unavailable
from laneway.execute.teller import Teller
from laneway.kit.task_metrics import TaskMetrics
from laneway.model.config import QueueConfig
from laneway.ports.history import FINE, Bucket, Count, LaneTimes, Ring, Sizes
from laneway.ports.store import OutboxEntry
from laneway.tend.historian import Historian, sizes_of

T = 1_700_000_100


class Failing:
    """A history on which calls fail in turn: before anything happened, or after."""

    def __init__(self, store: MemoryStore) -> None:
        self.inner = store.history
        self.before: list[LanewayError] = []
        self.after: list[LanewayError] = []
        self.calls = 0

    def _begin(self) -> None:
        self.calls += 1
        if self.before:
            raise self.before.pop(0)

    def _end(self) -> None:
        if self.after:
            raise self.after.pop(0)

    async def tally(self, last: bytes, counts: Sequence[Count]) -> int:
        self._begin()
        took = await self.inner.tally(last, counts)
        self._end()
        return took

    async def sample(self, sizes: Sizes) -> None:
        self._begin()
        await self.inner.sample(sizes)

    async def observe(self, times: Sequence[LaneTimes]) -> None:
        self._begin()
        await self.inner.observe(times)
        self._end()

    async def read(self, ring: Ring, since: int, until: int) -> list[Bucket]:
        return await self.inner.read(ring, since, until)


@pytest.fixture
async def store() -> MemoryStore:
    store = MemoryStore(VirtualClock(T * 1000))
    await store.configure(QueueConfig(), {}, expected=None)
    return store


def entry(n: int, kind: str = "submitted", tasks: int = 1, at: int = T) -> OutboxEntry:
    return OutboxEntry(b"%d-%d" % (at * 1000, n), kind, at * 1000, [(1, 0, [b"x" * 14] * tasks)], 0)


async def submitted(history: Failing) -> int:
    return int(sum(sum(b.n.get("submitted", {}).values()) for b in await history.read(FINE, T - 100, T + 1000)))


async def test_a_batch_whose_outcome_is_unknown_is_told_again_as_it_was(store: MemoryStore) -> None:
    history = Failing(store)
    historian = Historian(store, history)
    history.after = [OutcomeUnknown("no answer")]
    historian.count([entry(1, tasks=3)], {1: "high"})
    with pytest.raises(OutcomeUnknown):
        await historian.tell()
    historian.count([entry(2, tasks=4)], {1: "high"})
    history.before = [Unavailable("away", 1.0)]
    with pytest.raises(Unavailable):
        await historian.tell()
    await historian.tell()
    assert await submitted(history) == 7
    await historian.tell()
    assert await submitted(history) == 7


async def test_events_that_two_relays_told_count_once(store: MemoryStore) -> None:
    history = Failing(store)
    for _ in range(2):
        historian = Historian(store, history)
        historian.count([entry(1), entry(2), entry(3, at=T + 25)], {1: "high"})
        await historian.tell()
    assert await submitted(history) == 3
    assert [b.at for b in await history.read(FINE, T, T + 100)] == [T, T + 20]


async def test_what_waits_while_redis_is_away_is_bounded(store: MemoryStore) -> None:
    history = Failing(store)
    historian = Historian(store, history)
    for n in range(300):
        history.before = [Unavailable("away", 1.0)]
        historian.count([entry(n)], {1: "high"})
        with pytest.raises(Unavailable):
            await historian.tell()
    await historian.tell()
    assert await submitted(history) == 100


@pytest.mark.parametrize("leading", [True, False])
async def test_only_the_poller_with_the_lease_samples(
    store: MemoryStore, leading: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = Failing(store)
    rounds = 0

    async def pause(seconds: float) -> bool:
        nonlocal rounds
        rounds += 1
        return rounds <= 4

    historian = Historian(store, history, lambda: leading)
    monkeypatch.setattr(historian, "pause", pause)
    await historian.run()
    buckets = await history.read(FINE, T, T + 10)
    assert [b.g[0] for b in buckets] == ([2] if leading else [])


async def test_sizes_have_what_occupies_slots_and_announced_workers_alone(store: MemoryStore) -> None:
    for name, state in ((b"a" * 8, 2), (b"b" * 8, 3)):
        await store.register(name, "w", "direct", 4, 0, 0)
        await store.heartbeat(name, state, 4, 0, [])
    sizes = sizes_of(await store.stats())
    assert (sizes.workers, sizes.slots) == (1, 4)
    assert [lane.lane for lane in sizes.lanes] == ["default"]


@pytest.mark.parametrize(
    ("fail", "told"),
    [
        (lambda h: h.before.append(Unavailable("away", 1.0)), 5),  # it surely did not happen: told with the next
        (lambda h: h.after.append(OutcomeUnknown("no answer")), 5),  # it did, and is not told again
        (lambda h: h.before.append(OutcomeUnknown("no answer")), 2),  # it did not, and is missing
    ],
)
async def test_a_worker_tells_its_times_once(store: MemoryStore, fail: Callable[[Failing], None], told: int) -> None:
    history = Failing(store)
    tasks = TaskMetrics().queue("q")
    teller = Teller(tasks, history)
    await teller.tell()
    assert history.calls == 0  # nothing to tell
    for _ in range(3):
        tasks.series("high", "t").run.observe(1.0)
    fail(history)
    await teller.tell()
    for _ in range(2):
        tasks.series("high", "u").run.observe(1.0)
    await teller.tell()
    await teller.tell()
    (bucket,) = await history.read(FINE, T - 10, T + 10)
    assert sum(bucket.r["high"][:-1]) == told
    assert history.calls == 2
