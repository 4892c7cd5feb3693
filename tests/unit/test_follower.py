"""Following a log of events, and listening to it: bounds, gaps and positions, without any server."""

import asyncio
from collections.abc import AsyncGenerator

import msgspec
import pytest

from laneway.gateway.event_filter import EventFilter
from laneway.gateway.follower import Follower, Told
from laneway.gateway.stream import Gap, Listener
from laneway.model.events import EVENT_SCHEMA, GAP, Event, EventTasks, Position


def raw(n: int, kind: str = "submitted", ids: int = 1, missing: int = 0) -> bytes:
    tasks = [] if kind == GAP else [EventTasks("high", 0, [f"{n:023}"] * ids)]
    sequence = f"{n}-0" + ("-gap" if kind == GAP else "")
    return msgspec.json.encode(Event(EVENT_SCHEMA, "q", kind, n, sequence, tasks, missing))


class NoFeed:
    """A log of which nothing new comes."""

    async def latest(self, most: int) -> list[bytes]:
        return [raw(1)]

    async def read(self, after: Position) -> AsyncGenerator[list[bytes], None]:
        while True:
            await asyncio.sleep(3600)
            yield []

    async def close(self) -> None:
        """Nothing."""


async def test_a_slow_reader_is_told_how_many_it_missed_and_memory_stays_bounded() -> None:
    follower = Follower("q", NoFeed, most=100, most_bytes=50_000)
    async with follower.listening(lambda: None, 5):
        slow, quick = Listener(follower, EventFilter()), Listener(follower, EventFilter())
        assert slow.begin() is None and quick.begin() is None
        for at in range(2, 5_002, 50):
            follower.add([raw(n) for n in range(at, at + 50)])
            assert len(await quick.frames(quick.next())) == 50
            assert follower.end - follower.first <= 100
            assert follower.size <= 50_000
        (gap, first), rest = slow.next()[:2], slow.next()
        assert isinstance(gap, Gap) and (gap.reason, gap.missing) == ("slow", 4_900)
        assert isinstance(first, Told) and first.position == (4_902, 0)
        assert rest == []
        follower.add([raw(n, ids=100) for n in range(6_000, 6_100)])
        assert follower.size <= 50_000
    await follower.close()


async def test_events_told_twice_are_passed_on_once() -> None:
    follower = Follower("q", NoFeed)
    async with follower.listening(lambda: None, 5):
        listener = Listener(follower, EventFilter())
        listener.begin()
        follower.add([raw(2), raw(3)])
        follower.add([raw(2), raw(3), b"no event", raw(4, GAP, missing=3), raw(4)])
        follower.add([raw(4, GAP, missing=3), raw(4)])
        bodies = await listener.bodies(listener.next())
        assert [(body.kind, body.missing) for body in bodies] == [
            ("submitted", None), ("submitted", None), ("gap", 3), ("submitted", None),
        ]  # fmt: skip
        assert listener.position == (4, 0)
    await follower.close()


async def test_a_gap_at_the_end_of_a_page_does_not_swallow_the_event_behind_it() -> None:
    follower = Follower("q", NoFeed)
    async with follower.listening(lambda: None, 5):
        listener = Listener(follower, EventFilter())
        listener.begin()
        follower.add([raw(2), raw(3, GAP, missing=1), raw(3)])
        listener.next(2)
        assert listener.position == (2, 0)
    await follower.close()


async def test_a_follower_begins_with_what_came_before_and_finds_places_by_position() -> None:
    follower = Follower("q", NoFeed)
    async with follower.listening(lambda: None, 5):
        follower.add([raw(n) for n in (5, 7, 7, 9)])
        assert [follower.number_after((n, 0)) - follower.first for n in (0, 1, 4, 5, 8, 9, 50)] == [0, 1, 1, 2, 3, 4, 4]
        assert follower.newest == (9, 0)
        late = Listener(follower, EventFilter(), (7, 0))
        assert late.begin() is None
        assert [each.position for each in late.next() if isinstance(each, Told)] == [(9, 0)]
    await follower.close()


class BrokenFeed(NoFeed):
    """A log that breaks once while it is read, and goes on then."""

    reads = 0

    async def read(self, after: Position) -> AsyncGenerator[list[bytes], None]:
        BrokenFeed.reads += 1
        if BrokenFeed.reads == 1:
            yield [raw(2)]
            raise RuntimeError("a fault made by a test")
        yield [raw(2), raw(3)]
        await asyncio.sleep(3600)


async def test_a_follower_that_breaks_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("laneway.gateway.follower._AGAIN_S", 0.0)
    news = asyncio.Event()
    follower = Follower("q", BrokenFeed)
    async with follower.listening(news.set, 5):
        async with asyncio.timeout(10):
            while follower.newest < (3, 0):
                await news.wait()
                news.clear()
        assert [told.position for told in follower.since(follower.first, 10)] == [(1, 0), (2, 0), (3, 0)]
    await follower.close()
