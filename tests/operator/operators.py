"""Operator processes for tests, and what they leave behind at the API server."""

import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from servers.envtest import Envtest
from servers.ports import free_port
from servers.process import ServerProcess

ROOT = Path(__file__).parents[2]
_PATH = os.pathsep.join(str(ROOT / part) for part in ("runtime", "operator"))


class Answer(NamedTuple):
    """An answer of an operator's own server."""

    status: int
    text: str

    @property
    def json(self) -> dict[str, Any]:
        """As JSON."""
        return dict(json.loads(self.text))


class Process(ServerProcess):
    """One operator process. ``argv`` follows the interpreter; {port} in it becomes its own port."""

    def __init__(self, name: str, argv: list[str], folder: Path) -> None:
        self.port = free_port()
        command = [sys.executable, *(part.replace("{port}", str(self.port)) for part in argv)]
        super().__init__(name, command, cwd=folder, log=folder / f"{name}.log")

    def ask(self, path: str) -> Answer | None:
        """What its own server answers, or None while it does not."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=2) as answer:
                return Answer(answer.status, answer.read().decode())
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.read().decode())
        except OSError:
            return None

    def metric(self, sample: str) -> float:
        """The value of a sample of its /metrics, such as `laneway_operator_leader`; 0 if there is none."""
        answer = self.ask("/metrics")
        for line in (answer.text if answer else "").splitlines():
            if line.startswith(f"{sample} "):
                return float(line.rpartition(" ")[2])
        return 0.0

    @property
    def leads(self) -> bool:
        """Whether it says that it leads."""
        return self.metric("laneway_operator_leader") == 1

    @property
    def ready(self) -> bool:
        """Whether it says that it is ready."""
        answer = self.ask("/readyz")
        return answer is not None and answer.status == 200

    def events(self) -> list[dict[str, Any]]:
        """The lines that it has logged."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def said(self, event: str) -> bool:
        """Whether it logged this event."""
        return any(line.get("event") == event for line in self.events())


def ledger_operator(
    folder: Path, envtest: Envtest, namespace: str, name: str, *, every: float = 0.05, takes: float = 0.0
) -> Process:
    """A process of ``ledger_operator.py``, started."""
    program = str(Path(__file__).with_name("ledger_operator.py"))
    process = Process(
        name, [program, str(envtest.kubeconfig), namespace, name, "{port}", str(every), str(takes)], folder
    )
    process.start({"PYTHONPATH": _PATH})
    return process


def until(what: str, true: Callable[[], bool], *, seconds: float = 30.0, process: ServerProcess | None = None) -> float:
    """Waits until it is true, and returns how many seconds that took."""
    began = time.monotonic()
    while not true():
        if time.monotonic() - began > seconds:
            tail = f"\n{process.log_tail()}" if process is not None else ""
            raise AssertionError(f"not within {seconds:g} s: {what}{tail}")
        if process is not None and not process.alive:
            raise AssertionError(f"the process ended; waited for: {what}\n{process.log_tail()}")
        time.sleep(0.02)
    return time.monotonic() - began


def install_crds(envtest: Envtest) -> None:
    """Laneway's kinds, served."""
    for path in sorted((ROOT / "crds").glob("*.yaml")):
        crd = yaml.safe_load(path.read_text())
        name = crd["metadata"]["name"]
        envtest.admin.apply(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}", crd)
    for plural in ("taskqueues", "prioritylanes", "workerpools"):
        path = f"/apis/laneway.dev/v1alpha1/{plural}"
        until(f"{plural} is served", lambda path=path: envtest.admin.raw("GET", path)[0] == 200)


def make_queue(envtest: Envtest, namespace: str, name: str, **spec: Any) -> dict[str, Any]:
    """A TaskQueue, applied."""
    body = {
        "apiVersion": "laneway.dev/v1alpha1",
        "kind": "TaskQueue",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"source": "Direct", **spec},
    }
    path = f"/apis/laneway.dev/v1alpha1/namespaces/{namespace}/taskqueues/{name}"
    return envtest.admin.apply(path, body)


class Line(NamedTuple):
    """One line of the ledger."""

    by: str
    epoch: int
    line: int


def ledger(envtest: Envtest, namespace: str) -> list[Line]:
    """The ledger, in the order of its writes."""
    items = envtest.admin.request("GET", f"/api/v1/namespaces/{namespace}/configmaps")["items"]
    items.sort(key=lambda item: int(item["metadata"]["resourceVersion"]))
    return [Line(item["data"]["by"], int(item["data"]["epoch"]), int(item["data"]["line"])) for item in items]


def ledger_names(envtest: Envtest, namespace: str) -> list[str]:
    """The names of the ledger's lines: each begins with that of the object that the pass was for."""
    items = envtest.admin.request("GET", f"/api/v1/namespaces/{namespace}/configmaps")["items"]
    return [item["metadata"]["name"] for item in items]
