"""Running the real Helm on the chart, and values that turn much of it on."""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from servers.kubernetes_build import KUBERNETES

CHART = Path(__file__).resolve().parents[2] / "charts" / "laneway"
NAMESPACE = "laneway-system"

Document = dict[str, Any]


class Helm:
    """Runs helm, on one cluster or on none, with folders of its own."""

    def __init__(self, program: Path, home: Path, kubeconfig: Path | None = None) -> None:
        self._program = program
        self._home = home
        # Without a kubeconfig no cluster may be found: not even one of the person who runs the tests.
        self._kubeconfig = kubeconfig or Path(os.devnull)

    def on(self, kubeconfig: Path) -> "Helm":
        """The same for a cluster."""
        return Helm(self._program, self._home, kubeconfig)

    def run(self, *argv: str, values: Mapping[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
        """The ended process; `values` are given as a file."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith("HELM_")}
        environ |= {f"HELM_{what}_HOME": str(self._home / what.lower()) for what in ("CONFIG", "CACHE", "DATA")}
        environ["KUBECONFIG"] = str(self._kubeconfig)
        command = [str(self._program), *argv]
        if values is not None:
            command += ["--values", "-"]
        return subprocess.run(command, input=json.dumps(values or {}), env=environ, capture_output=True, text=True)

    def must(self, *argv: str, values: Mapping[str, Any] | None = None) -> str:
        """What it prints; fails the test if it fails."""
        done = self.run(*argv, values=values)
        assert done.returncode == 0, f"helm {' '.join(argv)}:\n{done.stderr}"
        return done.stdout

    def render(
        self, values: Mapping[str, Any] | None = None, *, release: str = "laneway", namespace: str = NAMESPACE
    ) -> list[Document]:
        """The documents that the chart makes of these values."""
        version = KUBERNETES.removeprefix("v")
        argv = ["template", release, str(CHART), "--namespace", namespace, "--kube-version", version]
        return [found for found in yaml.safe_load_all(self.must(*argv, values=values or {})) if found]


def everything() -> dict[str, Any]:
    """Values that turn on all that an API server without further CRDs takes."""
    return {
        "replicas": 2,
        "adapter": {"enabled": True, "replicas": 2},
        "devServices": {"enabled": True},
        "monitoring": {"dashboards": {"enabled": True, "annotations": {"grafana_folder": "Laneway"}}},
        "commonLabels": {"team": "queues"},
        "extraEnv": [{"name": "EXTRA", "value": "1"}],
        "podAnnotations": {"example.org/a": "b"},
        "podLabels": {"example.org/c": "d"},
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "a", "operator": "Exists", "effect": "NoSchedule"}],
        "priorityClassName": "system-cluster-critical",
        "imagePullSecrets": [{"name": "registry"}],
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway"}
        ],
    }
