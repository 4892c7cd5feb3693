"""Writes what is watched, from hack/monitoring:

* charts/laneway/rules/*.yaml: alerts and recording rules, as Prometheus reads them
* charts/laneway/dashboards/*.json: Grafana's dashboards
* docs/reference/alerts.md: all of it for people

Run it after changing hack/monitoring: python hack/docs_monitoring.py
"""

from __future__ import annotations

import re
from pathlib import Path

from monitoring import grafana
from monitoring.alerts import ALERTS, FILES, GROUPS, Alert
from monitoring.dashboards import DASHBOARDS
from monitoring.rules import RUNBOOKS, rules

ROOT = Path(__file__).resolve().parents[1]
CHART = ROOT / "charts" / "laneway"

_HEAD = """\
<!-- Written by hack/docs_monitoring.py from hack/monitoring; change it there. -->
# Alerts

The chart brings them as a PrometheusRule (`monitoring.prometheusRule.enabled`); without the Prometheus operator, give
the files to Prometheus as they are: [`queues.yaml`](../../charts/laneway/rules/queues.yaml), and
[`operator.yaml`](../../charts/laneway/rules/operator.yaml) where the operator runs.
[Hook up Grafana](../how-to/hook-up-grafana.md) says how.

An alert with a bound fires from that number on; `monitoring.prometheusRule.bounds` sets another one, and
`monitoring.prometheusRule.disabled` leaves alerts out. Each has a page that says what to do.
"""


def files() -> dict[Path, str]:
    """All that is written: path and text."""
    out = {CHART / "rules" / f"{name}.yaml": rules(name) for name in FILES}
    out |= {CHART / "dashboards" / f"{each.uid}.json": grafana.text(each) for each in DASHBOARDS}
    out[ROOT / "docs" / "reference" / "alerts.md"] = page()
    return out


def page() -> str:
    """The reference of alerts, recording rules and dashboards."""
    parts = [_HEAD, "\n## Alerts\n\n| alert | severity | fires when | for | bound |\n|---|---|---|---|---|\n"]
    parts += [_row(alert) for alert in ALERTS]
    parts.append("\n## Expressions\n")
    parts += [
        f"\n### {alert.name}\n\n{_plain(alert.description)}\n\n```promql\n{alert.expr}\n```\n" for alert in ALERTS
    ]
    parts.append("\n## Recording rules\n\n| record | meaning |\n|---|---|\n")
    parts += [f"| `{each.record}` | {each.meaning} |\n" for group in GROUPS for each in group.recorded]
    parts.append("\n## Dashboards\n\n| dashboard | what it shows | rows |\n|---|---|---|\n")
    parts += [
        f"| [{each.title}](../../charts/laneway/dashboards/{each.uid}.json) | {each.about} |"
        f" {', '.join(row.title.lower() for row in each.rows)} |\n"
        for each in DASHBOARDS
    ]
    return "".join(parts)


def _row(alert: Alert) -> str:
    bound = f"{_number(alert.number)}: {alert.bound}" if alert.number is not None else ""
    link = f"[{alert.name}](../{RUNBOOKS.removeprefix('docs/')}/{alert.name}.md)"
    return f"| {link} | {alert.severity} | {_plain(alert.summary)} | {alert.over or 'at once'} | {bound} |\n"


def _plain(text: str) -> str:
    """A text of an alert with what Prometheus puts into it as words in italics: labels by name, and the value."""
    text = re.sub(r"\{\{ \$labels\.(\w+) \}\}", r"*\1*", text)
    return re.sub(r"\{\{ \$value[^}]*\}\}", "*value*", text)


def _number(bound: float) -> str:
    """A bound as people write it: no powers of ten."""
    return f"{bound:g}" if bound < 100_000 else f"{bound:,.0f}"


if __name__ == "__main__":
    for path, text in files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        print(f"wrote {path.relative_to(ROOT)}")
