"""What a dashboard is made of. ``grafana.py`` makes Grafana's JSON of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from monitoring.queries import Query


@dataclass(frozen=True)
class Panel:
    """One panel. ``unit`` is Grafana's name of it. ``kind``: timeseries or stat;
    ``width`` is of 24. ``bad_over``: from there on the value is shown as bad. ``exemplars``: traces are shown.
    ``signed``: values may be under 0."""

    title: str
    queries: tuple[Query, ...]
    unit: str = "short"
    about: str = ""
    kind: str = "timeseries"
    width: int = 8
    stacked: bool = False
    bad_over: float | None = None
    exemplars: bool = False
    signed: bool = False


@dataclass(frozen=True)
class Row:
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Variable:
    """A variable with the values of a label."""

    name: str
    metric: str
    label: str


@dataclass(frozen=True)
class Dashboard:
    """One dashboard; ``uid`` is its name in URLs and its file's."""

    uid: str
    title: str
    about: str
    rows: tuple[Row, ...]
    variables: tuple[Variable, ...] = field(default=())
