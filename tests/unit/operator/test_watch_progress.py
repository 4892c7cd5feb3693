"""Whether a watch gets anywhere, read from the requests of its session; and what an event does to the cache."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from yarl import URL

from laneway.kit.health import Health
from laneway_operator import names
from laneway_operator.engine.cache import ObjectCache
from laneway_operator.engine.sync import CacheSync
from laneway_operator.handlers.watch import Watches, WatchProgress
from laneway_operator.keys import ObjectKey

PODS = "https://api/api/v1/namespaces/ns/pods"
RESOURCES = [names.RESOURCES[names.POD], names.RESOURCES["Service"], names.RESOURCES[names.QUEUE]]


class Response:
    """An answer whose body comes bit by bit."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.closed = False
        self.content = SimpleNamespace(total_bytes=0)


class World:
    def __init__(self) -> None:
        self.now = 0.0
        self.health = Health(lambda: self.now)
        self.anew: list[str] = []
        self.counted: list[tuple[str, str, int]] = []
        self.progress = WatchProgress(RESOURCES, self.health, self.anew.append, lambda *row: self.counted.append(row))

    async def answer(self, url: str, response: Response | None = None) -> Response:
        response = response or Response()
        await self.progress._ended(None, None, cast(Any, SimpleNamespace(url=URL(url), response=response)))
        return response

    def later(self, seconds: float) -> None:
        self.now += seconds
        self.progress.look()


@pytest.fixture
def world() -> World:
    return World()


async def test_a_bookmark_is_progress_and_silence_is_none(world: World) -> None:
    stream = await world.answer(f"{PODS}?watch=true")
    world.later(200.0)
    stream.content.total_bytes += 120
    world.later(0.0)
    assert world.progress.age(names.POD) == 0
    world.later(300.0)
    assert world.progress.age(names.POD) == 300
    assert any("watch Pod" in reason for reason in world.health.live().reasons)


async def test_an_api_server_that_is_away_is_no_silence(world: World) -> None:
    world.later(1000.0)
    await world.progress._failed(None, None, cast(Any, SimpleNamespace(url=URL(f"{PODS}?watch=true"))))
    assert world.progress.age(names.POD) == 0
    assert world.counted == [("watch", "pods", 0)]


async def test_a_watch_that_begins_after_a_list_is_told_once_and_one_that_goes_on_is_not(world: World) -> None:
    await world.answer(f"{PODS}?limit=250")
    assert world.anew == []
    await world.answer(f"{PODS}?watch=true&resourceVersion=7")
    await world.answer(f"{PODS}?watch=true&resourceVersion=9")
    assert world.anew == [names.POD]
    assert world.counted == [("list", "pods", 200), ("watch", "pods", 200), ("watch", "pods", 200)]


async def test_a_refused_watch_has_not_begun(world: World) -> None:
    await world.answer(PODS)
    await world.answer(f"{PODS}?watch=true", Response(410))
    assert world.anew == []


async def test_kinds_of_one_group_are_told_apart_and_others_are_not_ours(world: World) -> None:
    world.later(100.0)
    await world.answer("https://api/api/v1/services")
    await world.answer("https://api/apis/laneway.dev/v1alpha1")
    await world.answer("https://api/apis/apps/v1/deployments")
    assert [world.progress.age(kind) for kind in ("Service", names.POD, names.QUEUE)] == [0, 100, 100]


async def test_events_fill_the_cache_and_only_news_call_a_handler() -> None:
    cache = ObjectCache(names.WATCHED_KINDS)

    async def all_served() -> list[str]:
        return []

    watches = Watches(
        cast(Any, None), cache, cast(CacheSync, None), RESOURCES, health=Health(), count=lambda *row: None,
        unserved=all_served,
    )  # fmt: skip
    resource = names.RESOURCES[names.QUEUE]
    key = ObjectKey(names.QUEUE, "ns", "orders")

    def body(version: int) -> dict[str, Any]:
        return {"metadata": {"name": "orders", "namespace": "ns", "resourceVersion": str(version)}}

    is_news = watches._is_news(resource)
    assert is_news(event={"type": None, "object": body(5)})
    watches.take_in(resource, None, body(5))
    known = cache.get(key)
    assert known is not None
    assert (known["kind"], known["apiVersion"]) == ("TaskQueue", "laneway.dev/v1alpha1")  # items of lists lack both
    assert not is_news(event={"type": "MODIFIED", "object": body(5)})
    assert is_news(event={"type": "MODIFIED", "object": body(6)})
    assert is_news(event={"type": "DELETED", "object": body(5)})
    watches.take_in(resource, "DELETED", body(7))
    assert cache.get(key) is None
