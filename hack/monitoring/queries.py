"""What panels ask, in PromQL, and the legends of the answers.

``$namespace``, ``$queue`` and ``$lane`` are the dashboard's variables. Gauges of a queue are the same in every process
that has them, so they are taken by ``max``; counters and histograms are each process's own, so they are summed.
"""

from __future__ import annotations

Q = 'namespace=~"$namespace", queue=~"$queue"'
L = Q + ', lane=~"$lane"'
N = 'namespace=~"$namespace"'
R = "[$__rate_interval]"

#: An expression, and the legend of what it gives ("": Grafana's own).
Query = tuple[str, str]


def gauge(metric: str, by: str, selector: str = Q, said: str = "") -> Query:
    """A gauge of a queue by some labels; ``said`` comes first in the legend."""
    return f"max by ({by}) ({metric}{{{selector}}})", _legend(by, said)


def rate(metric: str, by: str, selector: str = Q, said: str = "") -> Query:
    """How much a counter grows in a second."""
    return f"sum by ({by}) (rate({metric}{{{selector}}}{R}))", _legend(by, said)


def increase(metric: str, by: str, selector: str = Q, said: str = "") -> Query:
    """By how much a counter has grown from one point to the next."""
    return f"sum by ({by}) (increase({metric}{{{selector}}}{R}))", _legend(by, said)


def quantiles(metric: str, by: str, selector: str = Q) -> tuple[Query, ...]:
    """The median and the 99th percentile of a histogram, by some labels."""
    return tuple(
        (f"histogram_quantile({q}, sum by ({by}, le) (rate({metric}_bucket{{{selector}}}{R})))", _legend(by, name))
        for q, name in ((0.5, "p50"), (0.99, "p99"))
    )


def _legend(by: str, said: str) -> str:
    labels = [f"{{{{{label}}}}}" for label in by.split(", ")]
    return " ".join([said, *labels] if said else labels)
