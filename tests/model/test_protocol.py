"""The protocol holds in every interleaving of the small variants, and each rule is needed."""

from __future__ import annotations

from dataclasses import fields

import pytest
from tests.model.checker import explore
from tests.model.rules import ALL_FAULTS, Rules, Variant
from tests.model.variants import CASES, COVERED, LARGE, SMALL, Case


@pytest.mark.parametrize("variant", SMALL.values(), ids=SMALL.keys())
def test_with_all_rules_nothing_can_go_wrong(variant: Variant) -> None:
    report = explore(variant)
    assert report.broken is None, str(report)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_without_the_rule_a_counterexample_is_found(case: Case) -> None:
    without = explore(case.off())
    assert without.broken is not None, f"nothing was found without this rule: {without}"
    assert case.finds in without.broken, f"something else was found: {without}"
    with_it = explore(case.on())
    assert with_it.broken is None, f"the rule does not help in this world: {with_it}"


@pytest.mark.parametrize("variant", COVERED.values(), ids=COVERED.keys())
def test_a_covered_rule_alone_can_fail_and_nothing_breaks_for_good(variant: Variant) -> None:
    report = explore(variant)
    assert report.broken is None, str(report)


@pytest.mark.slow_model
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("variant", LARGE.values(), ids=LARGE.keys())
def test_with_all_rules_nothing_can_go_wrong_in_the_large(variant: Variant) -> None:
    report = explore(variant, limit=20_000_000)
    assert report.broken is None, str(report)


def test_every_rule_has_a_case() -> None:
    tried = {name for case in CASES for name in case.without}
    tried |= {f.name for v in COVERED.values() for f in fields(Rules) if getattr(v.rules, f.name) != f.default}
    assert tried == {f.name for f in fields(Rules)}


def test_every_fault_befalls_some_small_variant() -> None:
    tried = frozenset[str]().union(*(v.kinds for v in SMALL.values() if v.faults))
    assert tried >= ALL_FAULTS


def test_a_counterexample_tells_its_moves_in_order() -> None:
    case = next(case for case in CASES if case.name == "start compares the holder")
    assert explore(case.off()).trace == (
        "submit t0",
        "dispatch t0 to W0",
        "publish t0 for W0",
        "W1 starts t0",
    )


def test_a_variant_that_outgrows_its_limit_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="more than 10 states"):
        explore(Variant(), limit=10)
