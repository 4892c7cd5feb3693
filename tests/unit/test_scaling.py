"""How many replicas a pool gets: tables of cases, and what holds whatever the numbers are."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laneway.policy.scaling import (
    Decision,
    LimitedBy,
    ScalingInputs,
    ScalingMemory,
    ScalingRule,
    Work,
    decide,
    load,
    share,
)

BY_TASKS = ScalingRule(min=0, max=20, stabilization_s=60, slots=16, tasks_per_replica=100)
BY_TIME = ScalingRule(min=0, max=20, stabilization_s=60, slots=16, drain_s=60)


def once(rule: ScalingRule, work: Work | None, current: int = 0, part: Fraction = Fraction(1)) -> Decision:
    return decide(ScalingInputs(0.0, current, work, part, "redis is away" if work is None else ""), rule, None)[0]


class Pool:
    """A pool whose decisions are carried out at once."""

    def __init__(self, rule: ScalingRule, size: int = 0) -> None:
        self.rule, self.size, self.now = rule, size, 1000.0
        self.memory: ScalingMemory | None = None

    def sees(self, work: Work | None, after: float = 0.0) -> Decision:
        self.now += after
        decision, self.memory = decide(ScalingInputs(self.now, self.size, work), self.rule, self.memory)
        self.size = decision.desired
        return decision


@pytest.mark.parametrize(
    ("case", "rule", "work", "raw", "desired", "limited_by"),
    [
        ("nothing to do", BY_TASKS, Work(0, 0), 0, 0, "Target"),
        ("one task wakes one", BY_TASKS, Work(1, 0), 1, 1, "Target"),
        ("exactly the target", BY_TASKS, Work(100, 0), 1, 1, "Target"),
        ("one more than the target", BY_TASKS, Work(100, 1), 2, 2, "Target"),
        ("more than max", BY_TASKS, Work(4200, 16), 43, 20, "Max"),
        ("fewer than min", replace(BY_TASKS, min=3), Work(1, 0), 1, 3, "Min"),
        ("min with nothing to do", replace(BY_TASKS, min=1), Work(0, 0), 0, 1, "Min"),
        ("what runs keeps one", BY_TASKS, Work(0, 1), 1, 1, "Target"),
        ("what is parked keeps one", BY_TASKS, Work(0, 0, parked=500), 1, 1, "Target"),
        ("paused lanes ask for none", BY_TASKS, Work(0, 0, stopped=500), 0, 0, "Paused"),
        ("paused lanes beside others", BY_TASKS, Work(100, 0, stopped=500), 1, 1, "Paused"),
        ("a few in a paused lane make no difference", BY_TASKS, Work(50, 0, stopped=50), 1, 1, "Target"),
        ("time: one replica is enough", BY_TIME, Work(100, 0, run_s=1.0), 1, 1, "Target"),
        ("time: 4216 tasks of 2.5 s", BY_TIME, Work(4200, 16, run_s=2.5), 11, 11, "Target"),
        ("time: short tasks need one", BY_TIME, Work(5, 0, run_s=1e-6), 1, 1, "Target"),
        ("time: unknown is taken for 1 s", BY_TIME, Work(1920, 0), 2, 2, "Target"),
        ("max 0 is a pool that is off", replace(BY_TASKS, max=0), Work(10, 0), 1, 0, "Max"),
    ],
)
def test_the_number_follows_the_target(
    case: str, rule: ScalingRule, work: Work, raw: int, desired: int, limited_by: str
) -> None:
    got = once(rule, work)
    assert (got.raw, got.desired, got.limited_by) == (raw, desired, limited_by), case


@pytest.mark.parametrize(
    ("rule", "work", "part", "formula"),
    [
        (BY_TASKS, Work(200, 16), 1, "ceil((queued 200 + running 16) / 100 per replica) = 3"),
        (BY_TASKS, Work(4200, 16), 1, "ceil((queued 4200 + running 16) / 100 per replica) = 43, limited by max 20"),
        (
            BY_TASKS,
            Work(4200, 16),
            Fraction(1, 4),
            "ceil((queued 4200 + running 16) x 0.25 of the queue / 100 per replica) = 11",
        ),
        (
            BY_TIME,
            Work(4200, 16, run_s=2.5),
            1,
            "ceil((queued 4200 + running 16) x 2.5 s each / (16 slots x 60 s)) = 11",
        ),
        (
            BY_TIME,
            Work(10, 0),
            1,
            "ceil((queued 10 + running 0) x 1 s each, assumed as none has ended yet, / (16 slots x 60 s)) = 1",
        ),
        (BY_TASKS, Work(0, 0, parked=7), 1, "ceil((queued 0 + running 0) / 100 per replica) = 1 (for 7 parked)"),
        (
            BY_TASKS,
            Work(0, 0, stopped=7),
            1,
            "ceil((queued 0 + running 0) / 100 per replica) = 0, without 7 in paused lanes",
        ),
    ],
)
def test_the_formula_says_how_the_number_came_about(
    rule: ScalingRule, work: Work, part: Fraction, formula: str
) -> None:
    assert once(rule, work, part=Fraction(part)).formula == formula


def test_what_cannot_be_read_keeps_the_size_and_says_why() -> None:
    got = once(BY_TASKS, None, current=7)
    assert (got.desired, got.raw, got.load, got.limited_by) == (7, None, None, LimitedBy.UNREADABLE)
    assert got.formula == "kept at 7: the queue could not be read (redis is away)"
    assert not got.readable


def test_more_replicas_come_at_once() -> None:
    pool = Pool(BY_TASKS)
    assert pool.sees(Work(1, 0)).desired == 1
    assert pool.sees(Work(900, 0), after=1).desired == 9


def test_fewer_come_when_they_have_been_enough_for_the_whole_window() -> None:
    pool = Pool(BY_TASKS)
    assert pool.sees(Work(900, 0)).desired == 9
    got = pool.sees(Work(100, 0), after=59)
    assert (got.desired, got.limited_by) == (9, LimitedBy.STABILIZATION)
    assert got.formula.endswith("= 1, kept at 9: fewer have not been enough for 60 s yet")
    assert pool.sees(Work(100, 0), after=1).desired == 1


def test_the_size_goes_down_to_the_most_that_was_recommended_in_the_window() -> None:
    pool = Pool(BY_TASKS)
    for tasks in (900, 300, 500, 200):
        pool.sees(Work(tasks, 0), after=10)
    assert pool.size == 9
    assert pool.sees(Work(0, 0), after=45).desired == 5
    assert pool.sees(Work(0, 0), after=10).desired == 2
    assert pool.sees(Work(0, 0), after=60).desired == 0


def test_without_a_window_fewer_come_at_once() -> None:
    pool = Pool(replace(BY_TASKS, stabilization_s=0))
    pool.sees(Work(900, 0))
    assert pool.sees(Work(0, 0)).desired == 0


def test_a_restart_takes_nothing_away_before_a_whole_window() -> None:
    pool = Pool(BY_TASKS, size=9)
    assert pool.sees(Work(0, 0)).desired == 9
    assert pool.sees(Work(0, 0), after=59).desired == 9
    assert pool.sees(Work(0, 0), after=1).desired == 0


def test_after_a_gap_in_the_readings_the_window_begins_anew() -> None:
    pool = Pool(BY_TASKS)
    pool.sees(Work(900, 0))
    pool.sees(None, after=100)
    assert pool.sees(Work(0, 0), after=1).desired == 9
    assert pool.sees(Work(0, 0), after=60).desired == 0


def test_a_lower_max_holds_at_once_and_a_higher_min_too() -> None:
    pool = Pool(BY_TASKS)
    pool.sees(Work(900, 0))
    pool.rule = replace(BY_TASKS, max=4)
    assert pool.sees(Work(900, 0), after=1).desired == 4
    pool.rule = replace(BY_TASKS, min=10)
    assert pool.sees(None, after=1).desired == 10


def test_what_runs_keeps_the_replicas_that_hold_it() -> None:
    pool = Pool(replace(BY_TASKS, stabilization_s=0))
    pool.sees(Work(900, 64))
    got = pool.sees(Work(0, 64))
    assert (got.desired, got.limited_by) == (4, LimitedBy.RUNNING)
    assert got.formula == "ceil((queued 0 + running 64) / 100 per replica) = 1, kept at 4 by what runs"
    assert pool.sees(Work(0, 17)).desired == 2


def test_what_runs_never_asks_for_more() -> None:
    pool = Pool(replace(BY_TASKS, stabilization_s=0), size=1)
    pool.sees(Work(0, 1))
    assert pool.sees(Work(0, 90)).desired == 1


def test_pools_of_one_queue_share_it_by_the_slots_they_may_have() -> None:
    assert share(160, []) == 1
    assert share(160, [160]) == Fraction(1, 2)
    assert share(1600, [400]) == Fraction(4, 5)
    assert once(BY_TASKS, Work(1000, 0), part=share(1600, [400])).desired == 8


def test_every_pool_of_a_queue_wakes_for_its_first_task() -> None:
    assert once(BY_TASKS, Work(1, 0), part=Fraction(1, 100)).desired == 1


def test_a_rule_needs_one_target_and_ordered_bounds() -> None:
    with pytest.raises(ValueError, match="exactly one of tasks_per_replica and drain_s"):
        ScalingRule(0, 1, 0, 1)
    with pytest.raises(ValueError, match="at most max"):
        ScalingRule(3, 1, 0, 1, drain_s=1)


def test_only_the_number_and_what_limits_it_are_news() -> None:
    first, same, other = once(BY_TASKS, Work(10, 0)), once(BY_TASKS, Work(20, 5)), once(BY_TASKS, Work(200, 0))
    assert first.differs(None) and first.differs(other)
    assert not first.differs(same)


# -- whatever the numbers are

rules = st.builds(
    lambda low, more, window, slots, target: ScalingRule(low, low + more, window, slots, **target),
    st.integers(0, 50),
    st.integers(0, 1000),
    st.sampled_from([0.0, 1.0, 60.0, 3600.0]),
    st.integers(1, 640),
    st.one_of(
        st.fixed_dictionaries({"tasks_per_replica": st.integers(1, 1_000_000)}),
        st.fixed_dictionaries({"drain_s": st.floats(1, 86400)}),
    ),
)
works = st.builds(
    Work,
    st.integers(0, 10_000_000),
    st.integers(0, 100_000),
    st.integers(0, 1000),
    st.integers(0, 1000),
    st.one_of(st.just(0.0), st.floats(1e-6, 1e5)),
)
shares = st.builds(Fraction, st.integers(1, 50), st.integers(50, 100))
steps = st.lists(st.tuples(st.floats(0, 100), st.one_of(st.none(), works), rules, shares), min_size=1, max_size=30)


@given(steps, st.integers(0, 2000))
def test_the_bounds_hold_whatever_happens(
    history: list[tuple[float, Work | None, ScalingRule, Fraction]], size: int
) -> None:
    now, memory = 0.0, None
    for after, work, rule, part in history:
        now += after
        decision, memory = decide(ScalingInputs(now, size, work, part), rule, memory)
        assert rule.min <= decision.desired <= rule.max
        assert memory.desired == decision.desired
        assert len(decision.formula) <= 512
        size = decision.desired


@given(steps, rules, st.integers(0, 2000))
def test_unreadable_never_changes_a_size_within_the_bounds(
    history: list[tuple[float, Work | None, ScalingRule, Fraction]], rule: ScalingRule, size: int
) -> None:
    size = rule.bounded(size)
    now, memory = 0.0, None
    for after, work, _, part in history:
        now += after
        decision, memory = decide(ScalingInputs(now, size, work, part), rule, memory)
        if work is None:
            assert (decision.desired, decision.limited_by) == (size, LimitedBy.UNREADABLE)
        size = decision.desired


@given(steps, rules, st.integers(0, 100))
def test_it_never_goes_below_what_was_recommended_in_the_window_and_never_waits_to_go_up(
    history: list[tuple[float, Work | None, ScalingRule, Fraction]], rule: ScalingRule, size: int
) -> None:
    now, memory = 0.0, None
    size = rule.bounded(size)
    seen: list[tuple[float, int]] = [(now + history[0][0], size)]
    for after, work, _, part in history:
        now += after
        decision, memory = decide(ScalingInputs(now, size, work, part), rule, memory)
        if work is None:
            seen.append((now, size))
        else:
            assert decision.raw is not None
            seen.append((now, rule.bounded(decision.raw)))
        most = max(replicas for at, replicas in seen if at > now - rule.stabilization_s or at == now)
        assert decision.desired >= seen[-1][1]
        if rule.stabilization_s:
            assert decision.desired >= most
        if decision.limited_by is not LimitedBy.RUNNING:
            assert decision.desired <= max(most, seen[-1][1])
        size = decision.desired


@given(rules, works, shares)
def test_zero_means_that_nothing_could_run_and_a_task_means_at_least_one(
    rule: ScalingRule, work: Work, part: Fraction
) -> None:
    decision = once(rule, work, part=part)
    busy = work.queued + work.running + work.parked > 0
    assert (decision.raw or 0) >= busy
    if decision.desired == 0:
        assert rule.min == 0 and (not busy or rule.max == 0)
    assert decision.load is not None and (decision.load > 0) == busy
    assert math.ceil(decision.load - 1e-9) == decision.raw


@given(rules, works, st.integers(0, 1000), shares)
def test_more_work_never_asks_for_less(rule: ScalingRule, work: Work, more: int, part: Fraction) -> None:
    assert load(rule, replace(work, queued=work.queued + more), part) >= load(rule, work, part)


@given(rules, works, st.integers(0, 10_000))
def test_paused_tasks_never_change_the_number(rule: ScalingRule, work: Work, stopped: int) -> None:
    assert once(rule, replace(work, stopped=stopped)).desired == once(rule, work).desired


@given(rules, works, st.lists(st.integers(1, 10_000), min_size=1, max_size=5))
def test_the_parts_of_all_pools_are_the_whole(rule: ScalingRule, work: Work, slots: list[int]) -> None:
    assert sum(share(own, [*slots[:i], *slots[i + 1 :]]) for i, own in enumerate(slots)) == 1
