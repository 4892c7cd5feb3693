"""The manifests on the pages about scaling are ones that Laneway takes, and the tables have every word there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from laneway.model.manifests import WorkerPool
from laneway.policy.scaling import LimitedBy
from laneway_operator.conditions import Reason

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "autoscale.md"
_BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
POOLS = [
    document
    for block in _BLOCK.findall(PAGE.read_text())
    if (document := yaml.safe_load(block))["apiVersion"] == "laneway.dev/v1alpha1"
]


def test_the_page_shows_each_controller() -> None:
    scalings = [pool["spec"]["scaling"] for pool in POOLS]
    assert [scaling.get("controller", "Operator") for scaling in scalings] == [
        "Operator",
        "HorizontalPodAutoscaler",
        "None",
    ]


@pytest.mark.parametrize("pool", POOLS, ids=lambda pool: str(pool["spec"]["scaling"].get("controller")))
def test_its_pools_are_valid(pool: dict[str, object]) -> None:
    WorkerPool.model_validate(pool)


def test_it_explains_every_limit() -> None:
    assert {limit for limit in LimitedBy if f"`{limit}`" not in PAGE.read_text()} == set()


@pytest.mark.parametrize(
    "reason",
    [
        Reason.SCALED,
        Reason.SCALED_TO_ZERO,
        Reason.METRIC_UNREADABLE,
        Reason.QUEUE_PAUSED,
        Reason.SHADOW,
        Reason.MANAGED_BY_HPA,
        Reason.MANAGED_EXTERNALLY,
        Reason.AUTOSCALER_CONFLICT,
        Reason.METRICS_API_CONFLICT,
    ],
)
def test_it_explains_every_reason(reason: Reason) -> None:
    assert f"`{reason}`" in PAGE.read_text()
