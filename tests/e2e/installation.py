"""The chart on the cluster: installed, upgraded, uninstalled, and in the end taken away with all that it leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from tests.e2e import dump
from tests.e2e.commands import CommandFailed, kubectl, run
from tests.e2e.kube import Kube
from tests.e2e.settings import APPS, RELEASE, SYSTEM, Run
from tests.e2e.waiting import Seen, until

_CHART = Path(__file__).parents[2] / "charts" / "laneway"
_KINDS = ("WorkerPool", "PriorityLane", "TaskQueue")
CRDS = tuple(f"{plural}.laneway.dev" for plural in ("taskqueues", "prioritylanes", "workerpools"))
METRICS_API = "v1beta1.external.metrics.k8s.io"
OPERATOR = "app.kubernetes.io/component=operator"
ADAPTER = "app.kubernetes.io/component=adapter"


class Installation:
    """One release. At the end of the `with` block nothing of it is left, however it went, unless the cluster itself
    goes now."""

    def __init__(self, names: Run, kube: Kube) -> None:
        self._names = names
        self._kube = kube

    def __enter__(self) -> Self:
        for namespace in (SYSTEM, APPS):
            assert self._kube.get("Namespace", "", namespace) is None, (
                f"the cluster has a namespace {namespace} already: delete it, or take another cluster"
            )
        return self

    def __exit__(self, *error: object) -> None:
        if not self._names.throwaway:
            self._clear()

    def install(self) -> None:
        """Install the chart, and wait until what it runs is ready."""
        kubectl("create", "namespace", APPS)
        self._helm("install", "--create-namespace")
        self.keep_every_write()

    def upgrade(self, *changes: str) -> None:
        """Upgrade with other values (`name=value`), and wait until all of it is ready."""
        self._helm("upgrade", *(part for change in changes for part in ("--set", change)))

    def uninstall(self) -> None:
        """Uninstall the chart."""
        run(["helm", "uninstall", RELEASE, "--namespace", SYSTEM, "--wait", "--timeout", "90s"], timeout=100)

    def keep_every_write(self) -> None:
        """Redis is told to have each write on the disk before it answers, until it is started anew: what it has
        acknowledged shall survive SIGKILL for certain, and its default promises that but for the last two seconds."""
        pod = f"{RELEASE}-dev-redis-0"
        kubectl("-n", SYSTEM, "exec", pod, "--", "redis-cli", "config", "set", "appendfsync", "always")

    def holder(self) -> str:
        """Who holds the operator's Lease."""
        lease = self._kube.get("Lease", SYSTEM, f"{RELEASE}-operator")
        return str(lease["spec"].get("holderIdentity") or "") if lease is not None else ""

    def _helm(self, action: str, *more: str) -> None:
        names = self._names
        values = {"image": names.operator, "runtimeImage": names.runtime}
        argv = ["helm", action, RELEASE, str(_CHART), "--namespace", SYSTEM, "--wait", "--timeout", "120s"]
        for field, image in values.items():
            repository, _, tag = image.rpartition(":")
            argv += ["--set", f"{field}.repository={repository}", "--set", f"{field}.tag={tag}"]
        argv += ["--set", "adapter.enabled=true", "--set", "devServices.enabled=true"]
        argv += ["--set", f"devServices.redis.image={names.dev_redis}"]
        argv += ["--set", f"devServices.kafka.image={names.dev_kafka}"]
        if names.dev_user is not None:
            argv += ["--set", f"devServices.redis.runAsUser={names.dev_user}"]
            argv += ["--set", f"devServices.kafka.runAsUser={names.dev_user}"]
        try:
            run([*argv, *more], timeout=130)
        except CommandFailed as error:
            # Told now: what is made in a fixture is away again before pytest tells of it.
            raise CommandFailed(f"{error}\n\n{dump.everything()}") from None

    def _clear(self) -> None:
        """Everything away. What the operator would have cleaned up no longer matters."""
        for kind in _KINDS:
            for body in self._kube.every(kind, APPS):
                self._kube.delete(kind, APPS, body["metadata"]["name"])
        for body in self._kube.every("TaskQueue", APPS):
            if body["metadata"].get("finalizers"):
                self._kube.patch("TaskQueue", APPS, body["metadata"]["name"], {"metadata": {"finalizers": None}})
        try:
            run(["helm", "uninstall", RELEASE, "--namespace", SYSTEM, "--ignore-not-found"], timeout=60)
        except CommandFailed as error:
            print(error)
        for name in CRDS:
            self._kube.delete("CustomResourceDefinition", "", name)
        if (service := self._kube.get("APIService", "", METRICS_API)) is not None:
            to = service["spec"].get("service") or {}
            if to.get("namespace") == SYSTEM:
                self._kube.delete("APIService", "", METRICS_API)
        for namespace in (SYSTEM, APPS):
            self._kube.delete("Namespace", "", namespace)

        def gone() -> bool | Seen:
            left = [name for name in (SYSTEM, APPS) if self._kube.get("Namespace", "", name) is not None]
            return Seen("still there:", left) if left else True

        until("both namespaces are gone", gone, 90, pause=0.5)
