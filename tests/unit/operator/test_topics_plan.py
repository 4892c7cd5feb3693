"""Which topics a pass makes, grows, configures and leaves alone."""

from __future__ import annotations

import pytest

from laneway.adapters.kafka.admin import TopicState
from laneway.model.manifests import WorkerPool
from laneway.model.topics import TopicSpec
from laneway_operator.plan.topics import (
    MOST_PARTITIONS,
    Care,
    TopicsPlan,
    enough_partitions,
    listed_topics,
    most_workers,
    name_by_cluster,
    owned_topics,
    plan_topic_changes,
)

SPEC = TopicSpec("t", 4, 3, {"retention.ms": "1000", "max.message.bytes": "900"})
AS_WANTED = TopicState(4, 3, dict(SPEC.configs))


def plan(state: TopicState | None, *, owned: bool, care: Care = "Managed") -> TopicsPlan:
    return plan_topic_changes((SPEC,), {"t": state} if state else {}, {"t"} if owned else (), care)


@pytest.mark.parametrize(
    ("state", "owned", "care", "expected"),
    [
        pytest.param(None, False, "Managed", TopicsPlan((SPEC,), claim=("t",)), id="a new one is claimed and made"),
        pytest.param(None, True, "Managed", TopicsPlan((SPEC,)), id="one of ours that was deleted is made again"),
        pytest.param(AS_WANTED, True, "Managed", TopicsPlan(), id="one of ours as wanted is left"),
        pytest.param(AS_WANTED, False, "Managed", TopicsPlan(foreign=("t",)), id="a foreign one is never touched"),
        pytest.param(
            TopicState(1, 1, {}), False, "Managed", TopicsPlan(foreign=("t",)), id="a foreign one that differs neither"
        ),
        pytest.param(AS_WANTED, False, "Adopt", TopicsPlan(claim=("t",)), id="Adopt claims a foreign one"),
        pytest.param(
            TopicState(1, 3, dict(SPEC.configs)), False, "Adopt", TopicsPlan(grow={"t": 4}, claim=("t",)),
            id="Adopt brings it to what is wanted",
        ),
        pytest.param(
            TopicState(2, 3, dict(SPEC.configs)), True, "Managed", TopicsPlan(grow={"t": 4}), id="too few partitions"
        ),
        pytest.param(TopicState(9, 3, dict(SPEC.configs)), True, "Managed", TopicsPlan(), id="more are never taken"),
        pytest.param(
            TopicState(4, 3, {"retention.ms": "5", "max.message.bytes": "900", "other": "x"}), True, "Managed",
            TopicsPlan(configure={"t": {"retention.ms": "1000"}}), id="only what differs is set, others' settings stay",
        ),
        pytest.param(AS_WANTED, False, "Unmanaged", TopicsPlan(), id="Unmanaged with all that is needed"),
    ],
)  # fmt: skip
def test_a_topic_is_brought_to_what_is_wanted(
    state: TopicState | None, owned: bool, care: Care, expected: TopicsPlan
) -> None:
    assert plan(state, owned=owned, care=care) == expected


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (None, "t is missing (it needs 4 partitions)"),
        (TopicState(1, 3, {}), "t has 1 partitions and needs 4"),
        (TopicState(4, 3, {"max.message.bytes": "10"}), "t has max.message.bytes 10 and needs 900"),
    ],
)
def test_unmanaged_topics_are_only_checked(state: TopicState | None, said: str) -> None:
    found = plan(state, owned=False, care="Unmanaged")
    assert (found.lacking, found.changes) == ((said,), False)


def test_too_few_copies_are_told_since_nobody_can_repair_them() -> None:
    found = plan(TopicState(4, 1, dict(SPEC.configs)), owned=True)
    assert not found.changes
    assert "1 of the 3 copies" in found.remarks[0]


def test_planning_again_from_what_a_plan_leads_to_changes_nothing() -> None:
    first = plan(TopicState(1, 3, {}), owned=True)
    after = TopicState(first.grow["t"], 3, first.configure["t"])
    assert plan(after, owned=True) == TopicsPlan()


def pool(**spec: object) -> WorkerPool:
    return WorkerPool.model_validate(
        {"metadata": {"name": "p"}, "spec": {"queueRef": {"name": "q"}, "app": "a:b", **spec}}
    )


@pytest.mark.parametrize(
    ("pools", "workers"),
    [
        ([], 0),
        ([pool(replicas=3)], 3),
        ([pool(replicas=3, processes=4)], 12),
        ([pool(replicas=1, scaling={"max": 20, "target": {"tasksPerReplica": 5}}), pool(replicas=2)], 22),
    ],
)
def test_each_process_that_pools_may_have_counts_as_a_worker(pools: list[WorkerPool], workers: int) -> None:
    assert most_workers(pools) == workers


def test_the_topic_of_tasks_has_a_partition_for_each_worker_and_others_stay() -> None:
    tasks, events = TopicSpec("tasks", 12), TopicSpec("events", 1)
    grown = enough_partitions((tasks, events), "tasks", 20)
    assert [(spec.name, spec.partitions) for spec in grown] == [("tasks", 20), ("events", 1)]
    assert enough_partitions((tasks,), "tasks", 5) == (tasks,)
    assert enough_partitions((tasks,), "tasks", 50_000)[0].partitions == MOST_PARTITIONS


def test_topics_are_ours_in_the_cluster_that_they_were_made_in_only() -> None:
    topics = [
        {"name": "a", "cluster": "one", "partitions": 1, "owned": True},
        {"name": "a", "cluster": "two", "partitions": 1, "owned": False},
        {"name": "b", "cluster": "two", "partitions": 1, "owned": True},
        {"name": "c", "partitions": 1, "owned": True},
    ]
    listed = listed_topics({"status": {"topics": topics}})
    assert [topic["name"] for topic in listed] == ["a", "a", "b"]
    assert (owned_topics(listed, "one"), owned_topics(listed, "two"), owned_topics(listed, "")) == (["a"], ["b"], [])
    assert name_by_cluster(listed) == "a (Kafka cluster one) and a, b (Kafka cluster two)"
