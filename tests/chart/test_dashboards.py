"""The dashboards as Grafana takes them: what a panel needs is there, and none covers another."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from tests.chart.charts import CHART, Helm

FILES = sorted((CHART / "dashboards").glob("*.json"))


def panels(path: Path) -> list[dict[str, Any]]:
    """A dashboard's panels, headings of rows included."""
    return list(json.loads(path.read_text())["panels"])


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def dashboard(request: pytest.FixtureRequest) -> Path:
    """Each dashboard's file in turn."""
    return Path(request.param)


def test_no_two_dashboards_share_an_address() -> None:
    uids = [json.loads(path.read_text())["uid"] for path in FILES]
    assert uids == [path.stem for path in FILES]
    assert all(len(uid) <= 40 for uid in uids)


def test_no_panel_covers_another_or_leaves_the_page(dashboard: Path) -> None:
    boxes = [panel["gridPos"] for panel in panels(dashboard)]
    for box in boxes:
        assert box["x"] >= 0 and box["x"] + box["w"] <= 24
    for a, b in combinations(boxes, 2):
        apart = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        assert apart or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"], (a, b)


def test_panels_have_numbers_of_their_own_and_titles(dashboard: Path) -> None:
    found = panels(dashboard)
    assert len({panel["id"] for panel in found}) == len(found)
    titles = [panel["title"] for panel in found if panel["type"] != "row"]
    assert all(titles) and len(set(titles)) == len(titles)


def test_queries_use_only_variables_that_the_dashboard_has(dashboard: Path) -> None:
    document = json.loads(dashboard.read_text())
    known = {variable["name"] for variable in document["templating"]["list"]} | {"__rate_interval"}
    for panel in document["panels"]:
        for target in panel.get("targets", []):
            used = set(re.findall(r"\$\{?(\w+)", target["expr"]))
            assert used <= known, f"{panel['title']}: {used - known}"
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_nothing_in_a_dashboard_is_taken_for_a_template_of_the_chart(helm: Helm) -> None:
    documents = helm.render({"monitoring": {"dashboards": {"enabled": True}}})
    made = {
        name: text
        for document in documents
        if document["kind"] == "ConfigMap"
        for name, text in document["data"].items()
        if name.endswith(".json")
    }
    assert made.keys() == {path.name for path in FILES}
    for path in FILES:
        assert json.loads(made[path.name]) == json.loads(path.read_text())
