"""Objects of the cluster, looked at by plain requests: cheap enough to look many times a second."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.e2e.waiting import Seen, until

from servers.kube_client import KubeClient, KubeError

Object = dict[str, Any]

_KINDS = {
    "TaskQueue": ("apis/laneway.dev/v1alpha1", "taskqueues"),
    "PriorityLane": ("apis/laneway.dev/v1alpha1", "prioritylanes"),
    "WorkerPool": ("apis/laneway.dev/v1alpha1", "workerpools"),
    "Deployment": ("apis/apps/v1", "deployments"),
    "StatefulSet": ("apis/apps/v1", "statefulsets"),
    "Pod": ("api/v1", "pods"),
    "Service": ("api/v1", "services"),
    "Secret": ("api/v1", "secrets"),
    "Lease": ("apis/coordination.k8s.io/v1", "leases"),
    "PodDisruptionBudget": ("apis/policy/v1", "poddisruptionbudgets"),
    "NetworkPolicy": ("apis/networking.k8s.io/v1", "networkpolicies"),
    "HorizontalPodAutoscaler": ("apis/autoscaling/v2", "horizontalpodautoscalers"),
    "APIService": ("apis/apiregistration.k8s.io/v1", "apiservices"),
    "CustomResourceDefinition": ("apis/apiextensions.k8s.io/v1", "customresourcedefinitions"),
    "Namespace": ("api/v1", "namespaces"),
}


class Kube:
    """The cluster's API. Namespace "" is for what has none."""

    def __init__(self, kubeconfig: Path) -> None:
        self._client = KubeClient(kubeconfig)

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """The object; None if there is none."""
        try:
            return self._client.request("GET", _path(kind, namespace, name))
        except KubeError as error:
            if error.status == 404:
                return None
            raise

    def every(self, kind: str, namespace: str, selector: str = "") -> list[Object]:
        """All objects with these labels; none if the kind is not known to the server."""
        query = f"?{urlencode({'labelSelector': selector})}" if selector else ""
        try:
            found = self._client.request("GET", _path(kind, namespace) + query)
        except KubeError as error:
            if error.status == 404:
                return []
            raise
        items: list[Object] = found["items"]
        return items

    def patch(self, kind: str, namespace: str, name: str, body: Mapping[str, Any]) -> Object:
        """A merge patch; the object after it."""
        content = "application/merge-patch+json"
        return self._client.request("PATCH", _path(kind, namespace, name), body, content=content)

    def delete(self, kind: str, namespace: str, name: str, *, grace: int | None = None) -> None:
        """Asks for the deletion of an object; one that is not there is fine."""
        query = "" if grace is None else f"?gracePeriodSeconds={grace}"
        try:
            self._client.request("DELETE", _path(kind, namespace, name) + query)
        except KubeError as error:
            if error.status != 404:
                raise

    # -- what is looked for most

    def pods(self, namespace: str, selector: str) -> list[Object]:
        """Pods that are there and are not being deleted."""
        return [pod for pod in self.every("Pod", namespace, selector) if "deletionTimestamp" not in pod["metadata"]]

    def ready_pods(self, namespace: str, selector: str) -> list[Object]:
        """Those of them that are ready."""
        return [pod for pod in self.pods(namespace, selector) if has(pod, "Ready")]

    def replicas(self, namespace: str, deployment: str) -> int:
        """How many pods a Deployment asks for; -1 if there is no such Deployment."""
        found = self.get("Deployment", namespace, deployment)
        return -1 if found is None else int(found["spec"].get("replicas", 1))

    def wait_rolled_out(self, namespace: str, deployment: str, timeout: float) -> None:
        """Until all pods of a Deployment are of its newest template and ready, and no other is left."""

        def done() -> bool | Seen:
            found = self.get("Deployment", namespace, deployment)
            if found is None:
                return Seen("no such Deployment")
            spec, status = found["spec"].get("replicas", 1), found.get("status", {})
            if status.get("observedGeneration", 0) < found["metadata"]["generation"]:
                return Seen("not observed yet")
            seen = tuple(status.get(name, 0) for name in ("replicas", "updatedReplicas", "readyReplicas"))
            return seen == (spec, spec, spec) or Seen("of", spec, "replicas, updated, ready:", seen)

        until(f"Deployment {deployment} has rolled out", done, timeout)

    def wait_condition(self, kind: str, namespace: str, name: str, condition: str, timeout: float) -> Object:
        """Until the condition is true of the object's newest generation; the object."""

        def holds() -> Object | Seen:
            found = self.get(kind, namespace, name)
            if found is None:
                return Seen("no such object")
            status = found.get("status", {})
            if status.get("observedGeneration", 0) < found["metadata"]["generation"]:
                return Seen("not observed yet")
            return found if has(found, condition) else Seen(status.get("conditions"))

        got = until(f"{kind} {name} is {condition}", holds, timeout)
        assert isinstance(got, dict)
        return got


def has(body: Object, condition: str) -> bool:
    """Whether a condition is true."""
    conditions = body.get("status", {}).get("conditions", [])
    return any(each["type"] == condition and each["status"] == "True" for each in conditions)


def _path(kind: str, namespace: str, name: str = "") -> str:
    group, plural = _KINDS[kind]
    place = f"namespaces/{namespace}/" if namespace else ""
    return f"/{group}/{place}{plural}" + (f"/{name}" if name else "")
