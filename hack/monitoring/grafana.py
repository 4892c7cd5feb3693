"""Dashboards as Grafana's JSON (the classic model, which files and sidecars bring into any Grafana from 10 on)."""

from __future__ import annotations

import json
from typing import Any

from monitoring.dashboard import Dashboard, Panel, Variable

#: The last version of the classic model (Grafana 12.1 and later write it; older ones take it as it is).
SCHEMA = 42
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_HEIGHTS = {"stat": 4, "timeseries": 8}
_TAG = "laneway"


def text(dashboard: Dashboard) -> str:
    """A dashboard's file."""
    return json.dumps(build(dashboard), indent=1) + "\n"


def build(dashboard: Dashboard) -> dict[str, Any]:
    """A dashboard as Grafana has it."""
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.about,
        "tags": [_TAG],
        "schemaVersion": SCHEMA,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": [_alerts()]},
        "links": [{"type": "dashboards", "tags": [_TAG], "title": "Laneway", "asDropdown": True, "keepTime": True,
                   "includeVars": True, "targetBlank": False, "icon": "external link"}],
        "templating": {"list": [_datasource(), *map(_variable, dashboard.variables)]},
        "panels": _panels(dashboard),
    }  # fmt: skip


def _panels(dashboard: Dashboard) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    y = 0
    for row in dashboard.rows:
        out.append(
            {"id": len(out) + 1, "type": "row", "title": row.title, "collapsed": False, "panels": [],
             "gridPos": {"h": 1, "w": 24, "x": 0, "y": y}}
        )  # fmt: skip
        y += 1
        x = tallest = 0
        for panel in row.panels:
            if x + panel.width > 24:
                x, y, tallest = 0, y + tallest, 0
            height = _HEIGHTS[panel.kind]
            at = {"h": height, "w": panel.width, "x": x, "y": y}
            out.append({"id": len(out) + 1, "gridPos": at, **_panel(panel)})
            x, tallest = x + panel.width, max(tallest, height)
        y += tallest
    return out


def _panel(panel: Panel) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.bad_over is not None:
        steps.append({"color": "red", "value": panel.bad_over})
    defaults: dict[str, Any] = {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}}
    if not panel.signed:
        defaults["min"] = 0
    options: dict[str, Any]
    if panel.kind == "stat":
        options = {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}, "graphMode": "area",
                   "colorMode": "value" if panel.bad_over is not None else "none", "textMode": "value"}  # fmt: skip
    else:
        custom: dict[str, Any] = {"lineWidth": 1, "fillOpacity": 20 if panel.stacked else 0, "showPoints": "never"}
        custom["stacking"] = {"mode": "normal" if panel.stacked else "none", "group": "A"}
        if panel.bad_over is not None:
            custom["thresholdsStyle"] = {"mode": "line"}
        defaults["custom"] = custom
        options = {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
                   "tooltip": {"mode": "multi", "sort": "desc"}}  # fmt: skip
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": _SOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": [
            {"refId": chr(65 + i), "datasource": _SOURCE, "expr": expression, "legendFormat": legend or "__auto",
             "range": True, "exemplar": panel.exemplars}
            for i, (expression, legend) in enumerate(panel.queries)
        ],
    }  # fmt: skip


def _datasource() -> dict[str, Any]:
    return {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus", "hide": 0}


def _variable(variable: Variable) -> dict[str, Any]:
    query = f"label_values({variable.metric}, {variable.label})"
    return {
        "name": variable.name,
        "type": "query",
        "datasource": _SOURCE,
        "definition": query,
        "query": {"query": query, "refId": "variable"},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        # (of series without the label as well: outside Kubernetes there is no namespace)
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def _alerts() -> dict[str, Any]:
    """Marks where alerts of Laneway fire."""
    return {
        "name": "Alerts",
        "enable": True,
        "datasource": _SOURCE,
        "iconColor": "red",
        "expr": 'max by (alertname) (ALERTS{alertname=~"Laneway.*", alertstate="firing"})',
        "titleFormat": "{{alertname}}",
        "step": "30s",
    }
