"""What all Deployments of Laneway have in common: names, labels, an owner, and pods that may do little.

Pods run as user 65532 on a read-only root, without capabilities, with a /tmp of their own and without a token for
the API server, unless the manifest gives them a service account.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from laneway.model.manifests.pods import PodSettings, Resources
from laneway_operator import names
from laneway_operator.resources.connection import Connection

Object = dict[str, Any]

METRICS_PORT: Final = 9090
HTTP_PORT: Final = 8080
USER: Final = 65532
STOP_MARGIN_S: Final = 15


@dataclass(frozen=True, slots=True)
class Part:
    """One part that an object owns. ``name`` is that of the part's Deployment; ``instance`` that of the owner."""

    component: str
    name: str
    namespace: str
    instance: str
    queue: str
    owner: Mapping[str, Any]
    version: str
    pool: str = ""

    def selector(self) -> Object:
        """The labels that choose the part's pods; they never change."""
        return {
            names.NAME_LABEL: "laneway",
            names.COMPONENT_LABEL: self.component,
            names.INSTANCE_LABEL: self.instance,
        }

    def labels(self) -> Object:
        """The labels of pods: none of them changes with Laneway's version, which would restart them."""
        found = {**self.selector(), names.MANAGED_BY_LABEL: names.MANAGED_BY, names.QUEUE_LABEL: self.queue}
        return {**found, names.POOL_LABEL: self.pool} if self.pool else found

    def selector_text(self) -> str:
        """The selector as ``kubectl -l`` and the scale subresource take it."""
        return ",".join(f"{name}={value}" for name, value in self.selector().items())

    def metadata(self, name: str = "") -> Object:
        """The metadata of an owned object."""
        return {
            "name": name or self.name,
            "namespace": self.namespace,
            "labels": {**self.labels(), names.VERSION_LABEL: self.version},
            "ownerReferences": [dict(self.owner)],
        }


@dataclass(frozen=True, slots=True)
class Run:
    """What the pods of a part run. ``probe_port`` serves /healthz and /readyz; ``stop_s`` is how long they may
    take to stop; they serve ``linger_s`` longer, until all have heard that they are leaving."""

    image: str
    command: Sequence[str]
    env: Sequence[Object]
    connection: Connection
    ports: Mapping[str, int]
    probe_port: str
    stop_s: int
    credentials_hash: str
    resources: Resources | None = None
    pod: PodSettings | None = None
    pull_policy: str | None = None
    env_from: Sequence[Object] = ()
    volumes: Sequence[Object] = ()
    mounts: Sequence[Object] = ()
    strategy: Mapping[str, Any] = field(default_factory=lambda: {"maxSurge": 1, "maxUnavailable": 0})
    linger_s: int = 0


def deployment(part: Part, run: Run, replicas: int | None) -> Object:
    """The Deployment of a part. ``replicas`` None: somebody else sets their number."""
    spec: Object = {
        "selector": {"matchLabels": part.selector()},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": dict(run.strategy)},
        "revisionHistoryLimit": 3,
        "template": {"metadata": _pod_metadata(part, run), "spec": _pod_spec(run)},
    }
    metadata = part.metadata()
    metadata["annotations"] = {names.SIZED_BY: names.SIZED_BY_OTHERS if replicas is None else names.SIZED_BY_OPERATOR}
    if replicas is not None:
        spec["replicas"] = replicas
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def _pod_metadata(part: Part, run: Run) -> Object:
    labels, annotations = (run.pod.labels, run.pod.annotations) if run.pod else ({}, {})
    return {
        # Ours last: a label of the user's that hid one of them would hide the pods from their own Deployment.
        "labels": {**labels, **part.labels()},
        "annotations": {**annotations, names.CREDENTIALS_HASH: run.credentials_hash},
    }


def _pod_spec(run: Run) -> Object:
    container: Object = {
        "name": "laneway",
        "image": run.image,
        "command": list(run.command),
        # By name, the last one wins: the API server refuses an applied list that names one twice.
        "env": list({variable["name"]: variable for variable in run.env}.values()),
        "ports": [{"name": name, "containerPort": port, "protocol": "TCP"} for name, port in run.ports.items()],
        "livenessProbe": _probe("/healthz", run.probe_port, period=10, failures=6),
        "readinessProbe": _probe("/readyz", run.probe_port, period=5, failures=3),
        # Handlers may take long to import: until the first answer, death is not looked for.
        "startupProbe": _probe("/healthz", run.probe_port, period=2, failures=150),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        # Why it could not start stands in its log; this brings the last lines to the pod's status.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, *run.connection.mounts, *run.mounts],
    }
    if run.linger_s:
        container["lifecycle"] = {"preStop": {"sleep": {"seconds": run.linger_s}}}
    if run.env_from:
        container["envFrom"] = list(run.env_from)
    if run.pull_policy:
        container["imagePullPolicy"] = run.pull_policy
    if run.resources is not None:
        container["resources"] = run.resources.model_dump(exclude_defaults=True)
    spec: Object = {
        "containers": [container],
        "volumes": [{"name": "tmp", "emptyDir": {}}, *run.connection.volumes, *run.volumes],
        "terminationGracePeriodSeconds": run.linger_s + run.stop_s + STOP_MARGIN_S,
        # Their variables, such as LANEWAY_METRICS_PORT for a queue named metrics, would be taken for settings.
        "enableServiceLinks": False,
        "automountServiceAccountToken": bool(run.pod and run.pod.serviceAccountName),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    if run.pod is not None:
        spec |= _placement(run.pod)
    return spec


def _probe(path: str, port: str, *, period: int, failures: int) -> Object:
    return {
        "httpGet": {"path": path, "port": port, "scheme": "HTTP"},
        "periodSeconds": period,
        "timeoutSeconds": 3,
        "failureThreshold": failures,
    }


def _placement(pod: PodSettings) -> Object:
    """The fields of the pod's settings that are a pod's own."""
    return pod.model_dump(exclude={"labels", "annotations"}, exclude_defaults=True, exclude_none=True)
