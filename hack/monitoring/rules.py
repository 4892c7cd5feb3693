"""The rules as files that Prometheus reads by itself; the chart makes a PrometheusRule of the same files."""

from __future__ import annotations

from typing import Any

import yaml

from monitoring.alerts import GROUPS, Group

HEAD = "# Written by hack/docs_monitoring.py from hack/monitoring/alerts.py; change it there.\n"
RUNBOOKS = "docs/runbooks"


def rules(file: str) -> str:
    """The text of charts/laneway/rules/FILE.yaml."""
    groups = [_group(group) for group in GROUPS if group.file == file]
    text = yaml.safe_dump({"groups": groups}, sort_keys=False, width=1_000, allow_unicode=True)
    return HEAD + text


def _group(group: Group) -> dict[str, Any]:
    found: list[dict[str, Any]] = [{"record": each.record, "expr": each.expr} for each in group.recorded]
    for alert in group.alerts:
        rule: dict[str, Any] = {"alert": alert.name, "expr": alert.expr}
        if alert.over:
            rule["for"] = alert.over
        rule["labels"] = {"severity": alert.severity}
        rule["annotations"] = {
            "summary": alert.summary,
            "description": alert.description,
            "runbook": f"{RUNBOOKS}/{alert.name}.md",
        }
        found.append(rule)
    return {"name": group.name, "rules": found}
