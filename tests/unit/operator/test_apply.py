"""Writes are made when something would change by them, and only then."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from laneway_operator import names
from laneway_operator.apply.events import EventRecorder
from laneway_operator.apply.objects import ForeignObject, apply_if_different, delete_if_owned
from laneway_operator.apply.status import write_status_if_different
from laneway_operator.conditions import ConditionType, EventType, Reason, condition
from laneway_operator.engine.cache import ObjectCache
from laneway_operator.engine.cluster import Cluster
from laneway_operator.engine.errors import Conflict
from laneway_operator.keys import Body, ObjectKey, key_of

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


class FakeCluster:
    """Answers applies with the merged object; ``changes`` is what a webhook does to it; a Conflict if ``taken``."""

    def __init__(self) -> None:
        self.writes: list[Body] = []
        self.deletions: list[tuple[ObjectKey, str]] = []
        self.changes: Callable[[Body], None] = lambda body: None
        self.taken: Body | None = None
        self.version = 100

    async def apply(self, body: Body, *, force: bool = True, subresource: str = "") -> Body:
        if self.taken is not None and not force:
            raise Conflict(409, "Conflict", "another manager's")
        self.writes.append(body)
        return self._answer(body)

    async def patch_status(self, body: Body) -> Body:
        self.writes.append(body)
        return self._answer(body)

    async def find(self, key: ObjectKey) -> Body | None:
        return self.taken

    async def delete(self, key: ObjectKey, *, uid: str = "") -> bool:
        self.deletions.append((key, uid))
        return True

    def _answer(self, body: Body) -> Body:
        self.version += 1
        answer = copy.deepcopy(body)
        answer["metadata"]["resourceVersion"] = str(self.version)
        self.changes(answer)
        return answer


class World:
    def __init__(self) -> None:
        self.fake = FakeCluster()
        self.cluster = cast(Cluster, self.fake)
        self.cache = ObjectCache(names.WATCHED_KINDS)

    async def apply(self, body: Body) -> bool:
        return await apply_if_different(self.cluster, self.cache, body)

    async def status(self, body: Body, status: Body, now: datetime = NOON) -> bool:
        return await write_status_if_different(self.cluster, self.cache, body, status, now=now)

    def edit(self, key: ObjectKey, change: Callable[[Body], None]) -> None:
        """Somebody edits the object; the watch tells."""
        body = copy.deepcopy(self.cache.get(key))
        assert body is not None
        change(body)
        self.fake.version += 1
        body["metadata"]["resourceVersion"] = str(self.fake.version)
        self.cache.put(body)


@pytest.fixture
def world() -> World:
    return World()


def service(port: int = 80, owner: str = "u1", **spec: Any) -> Body:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "laneway-orders",
            "namespace": "ns",
            "ownerReferences": [{"kind": "TaskQueue", "name": "orders", "uid": owner, "controller": True}],
        },
        "spec": {"ports": [{"name": "http", "port": port}], **spec},
    }


KEY = key_of(service())


async def test_an_object_is_applied_once_and_then_left_alone(world: World) -> None:
    assert await world.apply(service())
    assert not await world.apply(service())
    assert len(world.fake.writes) == 1
    assert world.fake.writes[0]["metadata"]["annotations"][names.APPLIED_HASH]


async def test_another_wish_is_applied(world: World) -> None:
    await world.apply(service())
    assert await world.apply(service(port=81))


async def test_a_field_that_is_wished_no_more_is_applied_too(world: World) -> None:
    await world.apply(service(type="NodePort"))
    assert await world.apply(service())  # what is left is in the live object; the hash tells


async def test_an_edit_by_somebody_is_undone_and_an_addition_is_not(world: World) -> None:
    await world.apply(service())
    world.edit(KEY, lambda body: body["spec"].update(sessionAffinity="None"))
    assert not await world.apply(service())
    world.edit(KEY, lambda body: body["spec"]["ports"][0].update(port=81))
    assert await world.apply(service())


async def test_what_a_webhook_always_changes_is_not_written_again_and_again(world: World) -> None:
    world.fake.changes = lambda body: body["spec"]["ports"][0].update(port=8080)
    assert await world.apply(service())
    assert not await world.apply(service())
    world.edit(KEY, lambda body: body["metadata"].update(labels={"a": "b"}))
    assert not await world.apply(service())
    world.edit(KEY, lambda body: body["spec"]["ports"].clear())
    assert await world.apply(service())


async def test_an_object_of_another_owner_is_left_as_it_is(world: World) -> None:
    await world.apply(service(owner="u0"))
    with pytest.raises(ForeignObject, match=r"Service ns/laneway-orders .* TaskQueue orders \(uid u0\)"):
        await world.apply(service())
    assert len(world.fake.writes) == 1


async def test_an_object_that_the_watch_does_not_see_is_not_overwritten_either(world: World) -> None:
    world.fake.taken = {"kind": "Service", "metadata": {"name": "laneway-orders", "namespace": "ns"}}
    with pytest.raises(ForeignObject, match="belongs to nobody"):
        await world.apply(service())
    assert world.fake.writes == []


async def test_our_own_object_that_the_watch_has_not_told_of_yet_is_applied(world: World) -> None:
    world.fake.taken = service(port=1)
    assert await world.apply(service())


async def test_an_object_without_an_owner_is_refused(world: World) -> None:
    body = service()
    del body["metadata"]["ownerReferences"]
    with pytest.raises(ValueError, match="controlling owner"):
        await world.apply(body)


async def test_only_what_the_owner_owns_is_deleted_and_only_once(world: World) -> None:
    await world.apply(service())
    world.edit(KEY, lambda body: body["metadata"].update(uid="s1"))
    assert not await delete_if_owned(world.cluster, world.cache, KEY, "u0")
    assert await delete_if_owned(world.cluster, world.cache, KEY, "u1")
    assert world.fake.deletions == [(KEY, "s1")]
    world.edit(KEY, lambda body: body["metadata"].update(deletionTimestamp="2030-01-01T00:00:00Z"))
    assert not await delete_if_owned(world.cluster, world.cache, KEY, "u1")


# -- status


def queue(**status: Any) -> Body:
    meta = {"name": "orders", "namespace": "ns", "uid": "q1", "generation": 1, "resourceVersion": "1"}
    return {"apiVersion": "laneway.dev/v1alpha1", "kind": "TaskQueue", "metadata": meta, "status": status}


def ready(yes: bool, message: str = "") -> Body:
    return condition(ConditionType.READY, yes, Reason.READY if yes else Reason.PROGRESSING, message, generation=1)


async def test_a_status_is_written_once_and_keeps_the_times_of_what_did_not_change(world: World) -> None:
    body = queue()
    world.cache.put(body)
    later = NOON.replace(hour=13)
    assert await world.status(body, {"conditions": [ready(False)], "lanes": None})
    assert not await world.status(body, {"conditions": [ready(False)]}, later)
    assert await world.status(body, {"conditions": [ready(False, "still at it")]}, later)
    assert world.fake.writes[-1]["status"]["conditions"][0]["lastTransitionTime"] == "2030-01-01T12:00:00Z"
    assert await world.status(body, {"conditions": [ready(True)]}, later)
    assert world.fake.writes[-1]["status"]["conditions"][0]["lastTransitionTime"] == "2030-01-01T13:00:00Z"


async def test_a_status_that_lost_a_field_or_was_edited_is_written_again(world: World) -> None:
    body = queue()
    world.cache.put(body)
    await world.status(body, {"lanes": 2, "pools": 1})
    assert await world.status(body, {"lanes": 2})
    world.edit(key_of(body), lambda live: live["status"].update(lanes=7))
    assert await world.status(body, {"lanes": 2})


async def test_a_status_that_the_api_server_prunes_is_not_written_again_and_again(world: World) -> None:
    body = queue()
    world.cache.put(body)
    world.fake.changes = lambda answer: answer["status"].pop("unknown", None)
    assert await world.status(body, {"lanes": 2, "unknown": 1})
    assert not await world.status(body, {"lanes": 2, "unknown": 1})
    assert await world.status(body, {"lanes": 3, "unknown": 1})


# -- events


class Told:
    """A recorder by a clock of the test."""

    def __init__(self) -> None:
        self.now = 0.0
        self.counts: list[str] = []
        self.recorder = EventRecorder(cast(Cluster, None), "me", count=self.counts.append, clock=lambda: self.now)

    @property
    def reasons(self) -> list[str]:
        return [f"{event['type']} {event['reason']}" for event in self.recorder._backlog]


async def test_the_same_event_is_told_once_in_ten_minutes() -> None:
    told = Told()
    for _ in range(3):
        told.recorder.emit(queue(), EventType.NORMAL, "Ready", "all is well")
    assert told.reasons == ["Normal Ready"]
    assert told.counts == ["folded", "folded"]
    told.now = 601.0
    told.recorder.emit(queue(), EventType.NORMAL, "Ready", "all is well")
    assert len(told.reasons) == 2


async def test_one_object_has_25_events_at_once_and_then_one_a_minute() -> None:
    told = Told()
    for at in range(30):
        told.recorder.emit(queue(), EventType.NORMAL, "Ready", f"message {at}")
    assert len(told.reasons) == 25
    assert told.counts == ["limited"] * 5
    told.now = 61.0
    for at in range(30, 33):
        told.recorder.emit(queue(), EventType.NORMAL, "Ready", f"message {at}")
    assert len(told.reasons) == 26


async def test_transitions_are_told_and_a_quiet_beginning_is_not() -> None:
    told = Told()
    stalled = condition(ConditionType.STALLED, True, Reason.RESOURCE_CONFLICT, "taken")
    told.recorder.emit_transitions(queue(), [], [ready(True), condition(ConditionType.STALLED, False, Reason.READY)])
    assert told.reasons == []
    told.recorder.emit_transitions(queue(), [ready(True)], [ready(False), stalled])
    assert told.reasons == ["Warning Progressing", "Warning ResourceConflict"]
    told.recorder.emit_transitions(queue(), [ready(False), stalled], [ready(False, "other words"), stalled])
    assert len(told.reasons) == 2
    told.recorder.emit_transitions(queue(), [ready(False)], [ready(True)])
    assert told.reasons[-1] == "Normal Ready"
