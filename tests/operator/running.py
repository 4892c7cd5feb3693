"""An operator that runs as its own process against a real API server, and the objects that tests give it."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from tests.operator.objects import PLURALS

from laneway.model.manifests import API_VERSION
from servers.kube_client import KubeClient, KubeError
from servers.ports import free_port

Object = dict[str, Any]
_T = TypeVar("_T")
#: What the operator has to repair is repaired within 10 s; a busy machine gets as much again.
WITHIN_S = 20.0
_OTHERS = {
    "Deployment": "apis/apps/v1",
    "Service": "api/v1",
    "Secret": "api/v1",
    "Pod": "api/v1",
    "PodDisruptionBudget": "apis/policy/v1",
    "NetworkPolicy": "apis/networking.k8s.io/v1",
}
_OTHER_PLURALS = {"NetworkPolicy": "networkpolicies"}


def until(what: str, look: Callable[[], _T | bool | None], timeout: float = WITHIN_S, pause: float = 0.05) -> _T:
    """The first true answer of ``look()``; after ``timeout`` s it fails and says ``what`` was awaited."""
    deadline = time.monotonic() + timeout
    while True:
        got = look()
        if got:
            return got  # type: ignore[return-value]  # it is neither None nor False
        assert time.monotonic() < deadline, f"not within {timeout:g} s: {what}"
        time.sleep(pause)


class RunningOperator:
    """One operator process that watches ``namespaces``. Its log is a file beside the test's."""

    def __init__(self, kubeconfig: Path, namespaces: Sequence[str], folder: Path, **options: str) -> None:
        self.port = free_port()
        self.log = folder / "operator.log"
        flags = {
            "kubeconfig": str(kubeconfig),
            "namespaces": ",".join(namespaces),
            "lease-namespace": namespaces[0],
            "host": "127.0.0.1",
            "port": str(self.port),
            "runtime-image": "example.org/laneway:test",
            **{name.replace("_", "-"): value for name, value in options.items()},
        }
        argv = [sys.executable, "-m", "laneway_operator", "run"]
        for name, value in flags.items():
            argv += [f"--{name}", value]
        environ = {name: value for name, value in os.environ.items() if not name.startswith("LANEWAY")}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                argv, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        until("the operator is ready", self._ready, timeout=30)

    def _ready(self) -> bool:
        assert self.process.poll() is None, f"the operator ended:\n{self.log.read_text()[-4000:]}"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric over all series with these labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        found = [line for line in lines if line.split("{")[0].split(" ")[0] == name]
        return sum(float(line.rsplit(" ", 1)[1]) for line in found if all(part in line for part in wanted))

    def stop(self) -> None:
        """SIGTERM; SIGKILL if that is not heard."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=25)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def __enter__(self) -> RunningOperator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class World:
    """The objects of one namespace that an operator watches."""

    def __init__(self, client: KubeClient, namespace: str, operator: RunningOperator) -> None:
        self.client = client
        self.namespace = namespace
        self.operator = operator

    # -- objects

    def path(self, kind: str, name: str = "", subresource: str = "") -> str:
        """The path of one object, or of all of a kind."""
        if kind in PLURALS:
            root, plural = f"apis/{API_VERSION}", PLURALS[kind]
        else:
            root, plural = _OTHERS[kind], _OTHER_PLURALS.get(kind, f"{kind.lower()}s")
        return "/".join(filter(None, (f"/{root}/namespaces/{self.namespace}/{plural}", name, subresource)))

    def create(self, kind: str, name: str, spec: Mapping[str, Any], **metadata: Any) -> Object:
        """Creates one of Laneway's objects."""
        document = {
            "apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name, **metadata}, "spec": dict(spec),
        }  # fmt: skip
        return self.client.request("POST", f"{self.path(kind)}?fieldValidation=Strict", document)

    def find(self, kind: str, name: str) -> Object | None:
        """The object, or None."""
        try:
            return self.client.request("GET", self.path(kind, name))
        except KubeError as error:
            if error.status != 404:
                raise
            return None

    def get(self, kind: str, name: str) -> Object:
        """The object; it must be there."""
        return self.client.request("GET", self.path(kind, name))

    def patch(self, kind: str, name: str, change: Mapping[str, Any], subresource: str = "") -> Object:
        """A merge patch."""
        path = self.path(kind, name, subresource)
        return self.client.request("PATCH", path, change, content="application/merge-patch+json")

    def delete(self, kind: str, name: str) -> None:
        """Deletes it."""
        self.client.request("DELETE", self.path(kind, name))

    def secret(self, name: str, **values: str | bytes) -> None:
        """Makes a Secret, or replaces its values. An underscore in a key stands for a dot."""
        data = {
            key.replace("_", "."): base64.b64encode(value.encode() if isinstance(value, str) else value).decode()
            for key, value in values.items()
        }
        document = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}
        self.client.apply(self.path("Secret", name), document)

    # -- waiting

    def applied(self, kind: str, name: str) -> Object:
        """An owned object, once it is there."""
        return until(f"{kind} {name}", lambda: self.find(kind, name))

    def condition(self, kind: str, name: str, type: str) -> Object:
        """A condition of an object now; empty if it has none of this type."""
        found = self.find(kind, name) or {}
        return next((one for one in found.get("status", {}).get("conditions", ()) if one["type"] == type), {})

    def told(self, kind: str, name: str, type: str, status: str, reason: str = "", timeout: float = WITHIN_S) -> Object:
        """A condition, once it has this status (and reason)."""
        last: Object = {}

        def look() -> Object | None:
            nonlocal last
            last = self.condition(kind, name, type)
            right = last.get("status") == status and (not reason or last.get("reason") == reason)
            return last if right else None

        try:
            return until("", look, timeout)
        except AssertionError:
            seen = json.dumps((self.find(kind, name) or {}).get("status"), indent=1)
            raise AssertionError(f"{kind} {name}: {type} was not {status} {reason}; its status:\n{seen}") from None

    def events(self, name: str) -> list[tuple[str, str, str]]:
        """Type, reason and message of the events of objects of this name."""
        path = f"/api/v1/namespaces/{self.namespace}/events?fieldSelector=involvedObject.name={name}"
        return [(one["type"], one["reason"], one["message"]) for one in self.client.request("GET", path)["items"]]

    def event(self, name: str, reason: str) -> tuple[str, str, str]:
        """An event, once it is told."""
        return until(
            f"an event {reason} of {name}", lambda: next((one for one in self.events(name) if one[1] == reason), None)
        )

    # -- what no controller does here

    def make_available(self, name: str) -> None:
        """Says of a Deployment what its controller would: all its pods are ready."""
        found = self.applied("Deployment", name)
        count = found["spec"].get("replicas", 1)
        numbers = dict.fromkeys(("replicas", "readyReplicas", "availableReplicas", "updatedReplicas"), count)
        status = {**numbers, "observedGeneration": found["metadata"]["generation"]}
        self.patch("Deployment", name, {"status": status}, "status")

    def create_pod(self, deployment: str, name: str) -> str:
        """Makes a pod of a Deployment's template, as its ReplicaSet would; returns its name."""
        template = self.get("Deployment", deployment)["spec"]["template"]
        document = {
            "apiVersion": "v1", "kind": "Pod", "metadata": {**template["metadata"], "name": name},
            "spec": template["spec"],
        }  # fmt: skip
        self.client.request("POST", self.path("Pod"), document)
        return name

    def pod_says(self, name: str, *, waiting: Object, ended: Object | None = None) -> None:
        """Says of a pod's container what its kubelet would: why it waits, and how it ended before."""
        image = self.get("Pod", name)["spec"]["containers"][0]["image"]
        container = {
            "name": "laneway", "image": image, "imageID": "", "ready": False, "restartCount": 0,
            "state": {"waiting": waiting}, "lastState": {"terminated": ended} if ended else {},
        }  # fmt: skip
        self.patch("Pod", name, {"status": {"containerStatuses": [container]}}, "status")

    def next_second(self) -> None:
        """What is made from now on is younger than what is there: the API server's times are whole seconds."""
        name = f"clock-{time.time_ns()}"
        self.secret(name)
        born = self.get("Secret", name)["metadata"]["creationTimestamp"]

        def later() -> bool:
            self.delete("Secret", name)
            self.secret(name)
            return bool(self.get("Secret", name)["metadata"]["creationTimestamp"] > born)

        until("the next second", later)

    def run_queue(self, name: str) -> None:
        """Makes a queue's pods available, and waits until the queue is ready."""
        for part in ("gateway", "poller"):
            self.make_available(f"laneway-{name}-{part}")
        self.told("TaskQueue", name, "Ready", "True")
