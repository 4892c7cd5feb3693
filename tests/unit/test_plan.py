"""Planning: lane numbers, order, versions, tenants and pools, decided purely."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laneway.errors import ConfigError
from laneway.model.config import LaneConfig, QueueConfig, TenantConfig, decode_config, encode_config
from laneway.model.manifests import PriorityLane, QueueManifests, TaskQueue, WorkerPool
from laneway.policy.plan import PoolPlan, default_lane, plan_config, plan_pool, problems


def queue(**spec: Any) -> TaskQueue:
    return TaskQueue.model_validate({"metadata": {"name": "q"}, "spec": spec})


def lane(name: str, **spec: Any) -> PriorityLane:
    return PriorityLane.model_validate({"metadata": {"name": name}, "spec": {"queueRef": {"name": "q"}, **spec}})


def pool(**spec: Any) -> WorkerPool:
    whole = {"queueRef": {"name": "q"}, "app": "shop.tasks:app", **spec}
    return WorkerPool.model_validate({"metadata": {"name": "p"}, "spec": whole})


def together(*lanes: PriorityLane, **spec: Any) -> QueueManifests:
    return QueueManifests(queue(**spec), lanes)


def numbers(config: QueueConfig) -> dict[str, int]:
    return {one.name: one.n for one in config.lanes if not one.gone}


def gone(config: QueueConfig) -> dict[str, int]:
    return {one.name: one.n for one in config.lanes if one.gone}


def test_a_queue_alone_has_the_lane_default_and_the_defaults_of_the_configuration() -> None:
    config, tenants = plan_config(None, together())
    assert config == QueueConfig()
    assert tenants == {}


def test_lanes_stand_in_dispatch_order_by_priority_and_then_by_name() -> None:
    lanes = [lane("c", priority=1), lane("b", priority=5), lane("a", priority=1), lane("z", priority=-3)]
    config, _ = plan_config(None, together(*lanes))
    assert [one.name for one in config.lanes] == ["b", "a", "c", "z"]


def test_a_lane_keeps_its_number_when_its_priority_changes() -> None:
    before, _ = plan_config(None, together(lane("a", priority=2), lane("b", priority=1)))
    after, _ = plan_config(before, together(lane("a", priority=1), lane("b", priority=2), lane("c", priority=9)))
    assert [one.name for one in after.lanes] == ["c", "b", "a"]
    assert numbers(after) == {**numbers(before), "c": 3}


def test_a_removed_lane_is_gone_keeps_its_number_and_holds_nothing_back() -> None:
    rich = lane("b", priority=5, paused=True, minSharePercent=40, maxRunning=7, dispatchRate={"perSecond": 3})
    before, _ = plan_config(None, together(lane("a"), rich))
    after, _ = plan_config(before, together(lane("a")))
    (left,) = [one for one in after.lanes if one.gone]
    assert left == LaneConfig(n=before.lane("b").n, name="b", prio=5, max=7, drate=3.0, dburst=3.0, gone=True)  # type: ignore[union-attr]
    assert (before.shares, after.shares) == (True, False)


def test_a_lane_that_returns_while_its_tombstone_stands_gets_its_old_number() -> None:
    before, _ = plan_config(None, together(lane("a"), lane("b")))
    without, _ = plan_config(before, together(lane("a")))
    again, _ = plan_config(without, together(lane("a"), lane("b")))
    assert numbers(again) == numbers(before)
    assert gone(again) == {}


def test_a_lane_never_gets_the_number_of_a_tombstone() -> None:
    before, _ = plan_config(None, together(lane("a"), lane("b")))
    after, _ = plan_config(before, together(lane("a"), lane("c")))
    assert numbers(after) == {"a": 1, "c": 3}
    assert gone(after) == {"b": 2}


def test_a_tombstone_is_dropped_once_it_is_known_to_be_empty() -> None:
    before, _ = plan_config(None, together(lane("a"), lane("b")))
    without, _ = plan_config(before, together(lane("a")))
    dropped, _ = plan_config(without, together(lane("a")), empty_lanes=frozenset({"b", "a"}))
    assert numbers(dropped) == {"a": 1}
    assert gone(dropped) == {}
    assert dropped.version == without.version + 1


def test_a_lane_that_still_accepted_tasks_when_it_was_seen_empty_becomes_a_tombstone_first() -> None:
    before, _ = plan_config(None, together(lane("a"), lane("b")))
    after, _ = plan_config(before, together(lane("a")), empty_lanes=frozenset({"b"}))
    assert gone(after) == {"b": 2}


def test_dropped_numbers_are_given_away_again_only_when_no_fresh_one_is_left() -> None:
    last = LaneConfig(n=250, name="last")
    before = QueueConfig(lanes=(last, LaneConfig(n=3, name="old", gone=True)), default_lane="last")
    wanted = together(lane("last"), lane("new"), lane("newer"))
    with_tombstone, _ = plan_config(before, wanted)
    assert numbers(with_tombstone) == {"last": 250, "new": 1, "newer": 2}
    dropped, _ = plan_config(
        before, together(lane("last"), lane("a"), lane("b"), lane("c")), empty_lanes=frozenset({"old"})
    )
    assert numbers(dropped) == {"last": 250, "a": 1, "b": 2, "c": 3}


def test_when_all_numbers_are_taken_the_error_says_how_to_free_some() -> None:
    full = QueueConfig(lanes=tuple(LaneConfig(n=n, name=f"old-{n}", gone=True) for n in range(1, 251)))
    with pytest.raises(ConfigError, match=r"all 250 lane numbers of the queue are taken.*purge them"):
        plan_config(full, together())


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (together(), "default"),
        (together(lane("a", priority=9), lane("default", priority=5), lane("z")), "default"),
        (together(lane("high", priority=9), lane("low", priority=1)), "low"),
        (together(lane("a"), lane("b")), "b"),
        (together(lane("a"), lane("b"), defaultLane="a"), "a"),
        (together(lane("x", laneName="only")), "only"),
    ],
    ids=[
        "without lanes it is the lane default",
        "a lane named default is it",
        "else the one with the lowest priority",
        "and of equal ones the last by name",
        "unless the queue names one",
        "by its name in the queue",
    ],
)
def test_the_lane_of_tasks_that_name_none(wanted: QueueManifests, expected: str) -> None:
    assert default_lane(wanted) == expected
    config, _ = plan_config(None, wanted)
    found = config.lane(config.default_lane)
    assert found is not None and not found.gone


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (
            together(lane("a", minSharePercent=60), lane("b", minSharePercent=41), lane("c")),
            "minSharePercent of all lanes together is at most 100, not 101 (a 60, b 41)",
        ),
        (together(*[lane(f"l{n}") for n in range(65)]), "a queue has at most 64 lanes, not 65"),
        (
            together(lane("a", laneName="x"), lane("b", laneName="x")),
            "PriorityLanes a and b both name the lane 'x': give one of them another spec.laneName",
        ),
        (
            together(lane("a"), lane("b"), defaultLane="c"),
            "spec.defaultLane: there is no lane 'c'; the lanes are: a, b",
        ),
        (together(defaultLane="c"), "spec.defaultLane: there is no lane 'c'; the lanes are: default"),
    ],
    ids=["shares over 100", "too many lanes", "one lane twice", "unknown default lane", "no lanes at all"],
)
def test_manifests_that_do_not_fit_together_are_refused_and_the_message_says_why(
    wanted: QueueManifests, message: str
) -> None:
    assert problems(wanted) == [message]
    with pytest.raises(ConfigError) as refused:
        plan_config(None, wanted)
    assert str(refused.value) == f"TaskQueue q: {message}"


def test_shares_that_add_up_to_exactly_100_and_64_lanes_fit() -> None:
    assert problems(together(lane("a", minSharePercent=60), lane("b", minSharePercent=40))) == []
    assert problems(together(*[lane(f"l{n}") for n in range(64)])) == []


def test_the_version_rises_by_one_when_anything_changed_and_only_then() -> None:
    first, _ = plan_config(None, together(lane("a")))
    same, _ = plan_config(first, together(lane("a")))
    paused, _ = plan_config(same, together(lane("a"), paused=True))
    assert (first.version, same.version, paused.version) == (1, 1, 2)


def test_a_change_of_one_tenants_own_settings_raises_the_version_too() -> None:
    def overrides(weight: int) -> dict[str, Any]:
        return {"overrides": [{"name": "acme", "weight": weight}]}

    first, _ = plan_config(None, together(tenants=overrides(2)))
    same, _ = plan_config(first, together(tenants=overrides(2)))
    other, _ = plan_config(first, together(tenants=overrides(3)))
    assert (same.version, other.version) == (first.version, first.version + 1)


def test_a_tenants_override_takes_from_the_defaults_what_it_does_not_say() -> None:
    tenants = {
        "defaults": {"weight": 3, "maxRunning": 10, "rate": {"perSecond": 5, "burst": 50}},
        "overrides": [
            {"name": "weighty", "weight": 9},
            {"name": "free", "maxRunning": 0, "rate": {"perSecond": 0}},
            {"name": "", "rate": {"perSecond": 1}},
        ],
    }
    config, planned = plan_config(None, together(tenants=tenants))
    assert config.overrides
    assert config.tenant == TenantConfig(w=3, max=10, rate=5.0, burst=50.0)
    assert planned == {
        "weighty": TenantConfig(w=9, max=10, rate=5.0, burst=50.0),
        "free": TenantConfig(w=3, max=0, rate=0.0, burst=0.0),
        "": TenantConfig(w=3, max=10, rate=1.0, burst=1.0),
    }


def test_every_field_of_a_queue_reaches_its_configuration() -> None:
    config, _ = plan_config(
        None,
        together(
            kafka={"bootstrapServers": ["kafka:9092"]},
            durability="Replica",
            ackReplicas=2,
            limits={
                "maxDepth": 7,
                "maxPayload": "64Ki",
                "compressOver": 0,
                "rate": {"perSecond": 100, "burst": 200},
            },
            retry={
                "maxAttempts": 9,
                "maxCrashes": 2,
                "backoff": {"base": "500ms", "factor": 3, "cap": "1m30s", "jitterPercent": 50},
            },
            retention={"ended": {"count": 5, "age": "2h"}, "dead": {"age": "168h"}, "maxBytes": "2Mi"},
            idempotency={"ttl": "90s"},
            paused=True,
        ),
    )
    assert (config.source, config.durability, config.replicas, config.paused) == ("kafka", "replica", 2, True)
    assert (config.max_depth, config.max_payload, config.compress_over) == (7, 65_536, 0)
    assert (config.rate, config.burst) == (100.0, 200.0)
    assert (config.max_attempts, config.max_crashes) == (9, 2)
    backoff = config.backoff
    assert (backoff.base, backoff.factor, backoff.cap, backoff.jitter) == (0.5, 3.0, 90.0, 0.5)
    assert (config.keep.ended.n, config.keep.ended.ms) == (5, 7_200_000)
    assert (config.keep.dead.n, config.keep.dead.ms) == (1_000_000, 604_800_000)
    assert (config.keep_bytes, config.idem_ms) == (2_097_152, 90_000)


def test_every_field_of_a_lane_reaches_its_configuration() -> None:
    config, _ = plan_config(
        None,
        together(
            lane(
                "a",
                priority=7,
                paused=True,
                maxRunning=3,
                minSharePercent=20,
                submitRate={"perSecond": 10},
                dispatchRate={"perSecond": 5, "burst": 9},
                ordering="Fifo",
            )
        ),
    )
    expected = LaneConfig(
        n=1,
        name="a",
        prio=7,
        paused=True,
        max=3,
        share=20,
        rate=10.0,
        burst=10.0,
        drate=5.0,
        dburst=9.0,
        fifo=True,
    )
    assert config.lanes == (expected,)
    assert config.shares


@pytest.mark.parametrize(
    ("spec", "source"),
    [
        ({}, "direct"),
        ({"kafka": {"bootstrapServers": ["k:1"]}}, "kafka"),
        ({"kafka": {"bootstrapServers": ["k:1"]}, "source": "Direct"}, "direct"),
    ],
    ids=["direct without kafka", "kafka with kafka", "direct when it is said, even with kafka"],
)
def test_the_source_is(spec: dict[str, Any], source: str) -> None:
    assert plan_config(None, together(**spec))[0].source == source


def test_a_pool_with_its_defaults() -> None:
    assert plan_pool(pool()) == PoolPlan(
        namespace="default",
        name="p",
        queue="q",
        app="shop.tasks:app",
        processes=1,
        slots=16,
        threads=8,
        drain_s=30.0,
    )


def test_every_field_of_a_pool_reaches_its_plan() -> None:
    planned = plan_pool(
        pool(
            replicas=3,
            processes=2,
            concurrency=50,
            threads=5,
            drainTimeout="1m500ms",
            recycle={"maxTasks": 10, "maxMemory": "512Mi"},
            env=[
                {"name": "MODE", "value": ""},
                {"name": "TOKEN", "secretRef": {"name": "shop", "key": "token"}},
            ],
        )
    )
    assert (planned.processes, planned.slots, planned.threads, planned.drain_s) == (6, 50, 5, 60.5)
    assert (planned.recycle_tasks, planned.recycle_bytes) == (10, 536_870_912)
    assert (planned.env, planned.env_required) == ((("MODE", ""),), ("TOKEN",))


# -- properties

_names = st.sampled_from(["a", "b", "c", "default", "high", "low"])
_rates = st.none() | st.builds(dict, perSecond=st.integers(1, 9))
_lanes = st.dictionaries(
    _names,
    st.builds(
        dict,
        priority=st.integers(-3, 3),
        paused=st.booleans(),
        minSharePercent=st.integers(0, 16),
        dispatchRate=_rates,
    ),
)
_overrides = st.lists(
    st.builds(dict, name=st.sampled_from(["", "x", "y"]), weight=st.integers(1, 256)),
    unique_by=lambda override: override["name"],
)


@st.composite
def _manifests(draw: st.DrawFn) -> QueueManifests:
    lanes = [lane(name, **spec) for name, spec in draw(_lanes).items()]
    return together(
        *lanes,
        paused=draw(st.booleans()),
        limits={"maxDepth": draw(st.integers(0, 2))},
        tenants={"overrides": draw(_overrides)},
    )


@given(st.lists(st.tuples(_manifests(), st.frozensets(_names)), min_size=1, max_size=8))
def test_through_any_history_plans_are_idempotent_and_no_number_is_ever_taken_over_from_a_lane_with_tasks(
    history: list[tuple[QueueManifests, frozenset[str]]],
) -> None:
    current: QueueConfig | None = None
    for wanted, empty in history:
        planned, tenants = plan_config(current, wanted, empty_lanes=empty)
        again, tenants_again = plan_config(planned, wanted)
        assert (again, tenants_again) == (planned, tenants)
        assert decode_config(encode_config(planned)) == planned

        assert len({one.n for one in planned.lanes}) == len({one.name for one in planned.lanes}) == len(planned.lanes)
        assert [one.name for one in planned.lanes] == [
            one.name for one in sorted(planned.lanes, key=lambda one: (-one.prio, one.name))
        ]
        assert set(numbers(planned)) == ({one.lane for one in wanted.lanes} or {"default"})
        if current is not None:
            assert planned.version == current.version + (planned != current)
            after = {one.name: one for one in planned.lanes}
            for before in current.lanes:
                if before.name in after:
                    assert after[before.name].n == before.n
                else:
                    assert before.gone and before.name in empty
        current = planned
