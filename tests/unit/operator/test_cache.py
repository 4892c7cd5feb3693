"""The cache: the newest body wins, whatever order things come in."""

from __future__ import annotations

from typing import Any

from laneway_operator import names
from laneway_operator.engine.cache import ObjectCache
from laneway_operator.handlers.trim import TRIMMERS
from laneway_operator.keys import Body, ObjectKey


def deployment(name: str, version: int, *, owner: str = "", queue: str = "", **extra: Any) -> Body:
    meta: Body = {"name": name, "namespace": "ns", "resourceVersion": str(version), "uid": f"uid-{name}"}
    if owner:
        meta["ownerReferences"] = [{"kind": "TaskQueue", "name": "q", "uid": owner, "controller": True}]
    if queue:
        meta["labels"] = {names.QUEUE_LABEL: queue}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, **extra}


def cache(**options: Any) -> ObjectCache:
    return ObjectCache(names.WATCHED_KINDS, indexers={"queue": names.queue_of}, **options)


def at(name: str) -> ObjectKey:
    return ObjectKey("Deployment", "ns", name)


def test_an_older_or_equal_version_is_no_news() -> None:
    objects = cache()
    assert objects.put(deployment("a", 9, spec={"replicas": 2}))
    assert not objects.put(deployment("a", 9, spec={"replicas": 3}))
    assert not objects.put(deployment("a", 8, spec={"replicas": 1}))
    body = objects.get(at("a"))
    assert body is not None
    assert body["spec"] == {"replicas": 2}
    assert objects.put(deployment("a", 10))


def test_versions_are_compared_as_numbers() -> None:
    objects = cache()
    objects.put(deployment("a", 99))
    assert objects.put(deployment("a", 100))


def test_an_answer_that_comes_after_the_deletion_does_not_bring_the_object_back() -> None:
    objects = cache()
    objects.put(deployment("a", 5))
    assert objects.remove(at("a"), 7)
    assert not objects.put(deployment("a", 6))
    assert objects.get(at("a")) is None
    assert objects.put(deployment("a", 8))  # made anew


def test_a_deletion_of_an_older_object_of_the_name_leaves_the_newer_one() -> None:
    objects = cache()
    objects.put(deployment("a", 9))
    assert not objects.remove(at("a"), 7)
    assert objects.get(at("a")) is not None


def test_indexes_follow_what_bodies_say() -> None:
    objects = cache()
    objects.put(deployment("a", 1, owner="u1", queue="orders"))
    objects.put(deployment("b", 2, owner="u1", queue="mail"))
    objects.put(
        {
            "kind": "WorkerPool",
            "apiVersion": "laneway.dev/v1alpha1",
            "metadata": {"name": "p", "namespace": "ns", "resourceVersion": "3"},
            "spec": {"queueRef": {"name": "orders"}},
        }
    )
    assert {body["metadata"]["name"] for body in objects.find("queue", "ns", "orders")} == {"a", "p"}
    assert [body["metadata"]["name"] for body in objects.find("queue", "ns", "orders", "WorkerPool")] == ["p"]
    assert {body["metadata"]["name"] for body in objects.owned_by("u1")} == {"a", "b"}
    objects.put(deployment("a", 4, owner="u2", queue="mail"))
    assert [body["metadata"]["name"] for body in objects.find("queue", "ns", "orders")] == ["p"]
    assert [body["metadata"]["name"] for body in objects.owned_by("u1")] == ["b"]
    objects.remove(at("b"))
    assert objects.owned_by("u1") == []
    assert objects.find("queue", "other", "orders") == []


def test_managed_fields_and_kubectls_copy_are_not_kept() -> None:
    objects = cache(trimmers=TRIMMERS)
    body = deployment("a", 1)
    body["metadata"]["managedFields"] = [{"manager": "x"}]
    body["metadata"]["annotations"] = {"kubectl.kubernetes.io/last-applied-configuration": "{}", "mine": "1"}
    objects.put(body)
    kept = objects.get(at("a"))
    assert kept is not None
    assert "managedFields" not in kept["metadata"]
    assert kept["metadata"]["annotations"] == {"mine": "1"}
    assert "managedFields" in body["metadata"]  # the caller's is left alone


def test_of_a_pod_only_what_scaling_reads_is_kept() -> None:
    objects = cache(trimmers=TRIMMERS)
    objects.put(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": "p-1", "namespace": "ns", "resourceVersion": "1", "labels": {names.POOL_LABEL: "p"},
                "annotations": {names.DELETION_COST: "5", "other": "x"},
            },
            "spec": {"nodeName": "n1", "containers": [{"name": "worker", "env": [{"name": "A"}] * 50}]},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}, {"type": "Other"}]},
        }
    )  # fmt: skip
    pod = objects.get(ObjectKey("Pod", "ns", "p-1"))
    assert pod is not None
    assert pod["spec"] == {"nodeName": "n1"}
    assert pod["metadata"]["annotations"] == {names.DELETION_COST: "5"}
    assert pod["status"]["conditions"] == [{"type": "Ready", "status": "True"}]


def test_listeners_hear_of_changes_and_whose_they_are() -> None:
    objects = cache()
    heard: list[tuple[str, bool, bool, bool]] = []
    objects.listen(lambda key, old, new, ours: heard.append((key.name, old is not None, new is not None, ours)))
    objects.put(deployment("a", 1), ours=True)
    objects.put(deployment("a", 1))
    objects.put(deployment("a", 2))
    objects.remove(at("a"))
    objects.remove(at("a"))
    assert heard == [("a", False, True, True), ("a", True, True, False), ("a", True, False, False)]


def test_a_note_stays_until_the_object_goes() -> None:
    objects = cache()
    objects.put(deployment("a", 1))
    objects.set_note(at("a"), "compared")
    objects.put(deployment("a", 2))
    assert objects.note(at("a")) == "compared"
    objects.remove(at("a"))
    assert objects.note(at("a")) is None


def test_a_kind_is_synced_when_it_was_said_so() -> None:
    objects = cache()
    assert set(objects.unsynced) == set(names.WATCHED_KINDS)
    objects.set_synced("Pod")
    assert objects.synced("Pod")
    assert "Pod" not in objects.unsynced
