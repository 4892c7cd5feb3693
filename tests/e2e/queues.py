"""The two queues of the tests, and the pod of the agent that submits to them."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import yaml
from tests.e2e.client import Client
from tests.e2e.commands import kubectl
from tests.e2e.kube import Kube
from tests.e2e.nodes import kill_container
from tests.e2e.settings import APPS, KAFKA, REDIS, Run
from tests.e2e.waiting import until

from servers.clusters import Cluster, GivenCluster

_ROOT = Path(__file__).parents[2]
_CLIENT = "e2e-client"

#: What examples/quickstart does not say, because on one machine it means nothing.
_QUICKSTART_POOL: dict[str, Any] = {
    "drainTimeout": "10s",
    "scaling": {"min": 0, "max": 3, "target": {"tasksPerReplica": 500}, "stabilization": "5s"},
}


@dataclass(frozen=True)
class Plan:
    """What a queue is made of. `task` and `payload` are what its load is of."""

    name: str
    files: tuple[Path, ...]
    kafka: str
    task: str
    payload: dict[str, Any]


QUICKSTART = Plan(
    "quickstart",
    tuple(sorted((_ROOT / "examples" / "quickstart").glob("*.yaml"))),
    "",
    "burst",
    {"number": 0},
)
#: (So long that some of its tasks run whenever a worker is killed.)
LEDGER = Plan("ledger", (Path(__file__).parent / "manifests" / "ledger.yaml",), KAFKA, "work", {"ms": 200})


class Queue:
    """One TaskQueue with its lanes and its pool of the same name."""

    def __init__(self, plan: Plan, kube: Kube, client: Client) -> None:
        self.name = plan.name
        self.task = plan.task
        self.payload = plan.payload
        self.deployment = f"laneway-{plan.name}-worker"
        self.workers = f"laneway.dev/pool={plan.name}"
        self._plan = plan
        self._kube = kube
        self._client = client

    def apply(self, names: Run) -> Self:
        """Apply the manifests, and wait until the queue is ready."""
        kubectl("apply", "-n", APPS, "-f", "-", text=yaml.safe_dump_all(self._documents(names)))
        self._kube.wait_condition("TaskQueue", APPS, self.name, "Ready", 90)
        # The key that may submit, and no other: more is not needed for what the tests do over HTTP.
        self.call("watch", kafka=self._plan.kafka, key=self.key("submitter"))
        return self

    def key(self, role: str) -> str:
        """The key of this role that the operator has made for the queue's HTTP API."""
        secret = self._kube.get("Secret", APPS, f"{self.name}-gateway-keys")
        assert secret is not None, "the operator has made no keys"
        return base64.b64decode(secret["data"][role]).decode()

    def asked(self, method: str, path: str, key: str | None) -> int:
        """The status of a request to the gateway's Service with this key, from the agent's pod."""
        return int(self.call("ask", method=method, path=path, key=key)["status"])

    def _documents(self, names: Run) -> list[dict[str, Any]]:
        texts = [
            path.read_text().replace("KAFKA", KAFKA).replace("HANDLERS", names.handlers) for path in self._plan.files
        ]
        documents = [document for text in texts for document in yaml.safe_load_all(text)]
        if self._plan is QUICKSTART:
            (pool,) = (document for document in documents if document["kind"] == "WorkerPool")
            pool["spec"] |= {"image": names.handlers, **_QUICKSTART_POOL}
        return documents

    def call(self, do: str, *, wait: float = 30.0, **arguments: Any) -> dict[str, Any]:
        """Ask the agent (inside/watched_queue.py) about this queue."""
        return self._client.call(self.name, do, wait=wait, **arguments)

    def begin(self, do: str, **arguments: Any) -> int:
        """Ask the agent without waiting; `finish` takes the answer."""
        return self._client.begin(self.name, do, **arguments)

    def finish(self, number: int, wait: float) -> dict[str, Any]:
        """The agent's answer to what was begun."""
        return self._client.finish(number, wait)

    def submit(self, payloads: list[dict[str, Any]], timeout: float = 60.0, **fields: Any) -> dict[str, Any]:
        """Submit tasks through the gateway's Service, and return when all are acknowledged."""
        return self.call("submit", type=self.task, payloads=payloads, timeout=timeout, wait=timeout, **fields)

    def settled(self, timeout: float) -> dict[str, Any]:
        """Wait until all that was acknowledged has ended."""
        return self.call("settled", timeout=timeout, wait=timeout)

    @contextmanager
    def load(self, rate: float) -> Iterator[None]:
        """Under this load the block runs; at its end all of the load is acknowledged."""
        self.call("start_stream", type=self.task, rate=rate, payload=self.payload)
        try:
            yield
        finally:
            self.call("stop_stream", timeout=60, wait=60)

    def uids(self, selector: str) -> set[str]:
        """Which pods there are."""
        return {pod["metadata"]["uid"] for pod in self._kube.pods(APPS, selector)}

    def pods_of(self, component: str) -> str:
        """The selector of the queue's gateway or poller."""
        return f"laneway.dev/queue={self.name},app.kubernetes.io/component={component}"


@contextmanager
def start_client(names: Run, kube: Kube) -> Iterator[Client]:
    """Run the agent's pod, and talk to it."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": _CLIENT, "namespace": APPS},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {
                    "name": "client",
                    "image": names.handlers,
                    "command": ["sleep", "infinity"],
                    "env": [
                        {"name": "LANEWAY_NAMESPACE", "value": APPS},
                        {"name": "LANEWAY_REDIS_URL", "value": f"redis://{REDIS}:6379"},
                    ],
                }
            ],
        },
    }
    kubectl("apply", "-f", "-", text=json.dumps(pod))
    until("the agent's pod runs", lambda: _running(kube), 60)
    client = Client(APPS, _CLIENT)
    try:
        yield client
    finally:
        client.close()


def _running(kube: Kube) -> bool:
    pod = kube.get("Pod", APPS, _CLIENT)
    return pod is not None and pod.get("status", {}).get("phase") == "Running"


def kill(cluster: Cluster, kube: Kube, namespace: str, pod: dict[str, Any], container: str) -> None:
    """SIGKILL to a pod's process; on a cluster whose nodes are out of reach, its pod is deleted without grace."""
    if isinstance(cluster, GivenCluster):
        kube.delete("Pod", namespace, pod["metadata"]["name"], grace=0)
    else:
        kill_container(cluster, pod, container)
