"""The names that the operator gives: kinds, labels, annotations, and the objects that it makes."""

from __future__ import annotations

from typing import Final

from laneway_operator.keys import Body, ObjectKey, Resource

GROUP: Final = "laneway.dev"
VERSION: Final = "v1alpha1"

QUEUE: Final = "TaskQueue"
LANE: Final = "PriorityLane"
POOL: Final = "WorkerPool"

FIELD_MANAGER: Final = "laneway-operator"
FINALIZER: Final = "laneway.dev/cleanup"

MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"
MANAGED_BY: Final = "laneway-operator"
NAME_LABEL: Final = "app.kubernetes.io/name"
COMPONENT_LABEL: Final = "app.kubernetes.io/component"
INSTANCE_LABEL: Final = "app.kubernetes.io/instance"
VERSION_LABEL: Final = "app.kubernetes.io/version"
QUEUE_LABEL: Final = "laneway.dev/queue"
POOL_LABEL: Final = "laneway.dev/pool"

APPLIED_HASH: Final = "laneway.dev/applied-hash"
CREDENTIALS_HASH: Final = "laneway.dev/credentials-hash"
SIZED_BY: Final = "laneway.dev/sized-by"
"""On a Deployment: who sets its replicas, `SIZED_BY_OPERATOR` or another."""
SIZED_BY_OPERATOR: Final = "Operator"
SIZED_BY_OTHERS: Final = "Others"
RECONCILE_ANNOTATION: Final = "laneway.dev/reconcile"
"""With the value ``PAUSED``, in whatever case, the operator leaves the object and what belongs to it as they are."""
PAUSED: Final = "Paused"
ABANDON_DATA: Final = "laneway.dev/abandon-data"
"""On a TaskQueue, with the address of a Redis (status.redis.address): what the queue has there may be left behind."""
DELETION_COST: Final = "controller.kubernetes.io/pod-deletion-cost"

#: Owned objects carry this label; the operator watches no others of their kinds.
OWNED_SELECTOR: Final = f"{MANAGED_BY_LABEL}={MANAGED_BY}"

OUR_KINDS: Final = (QUEUE, LANE, POOL)
OWNED_KINDS: Final = ("Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy", "HorizontalPodAutoscaler")
#: Workers' pods: watched for what runs and what is idle, made by their Deployments.
POD: Final = "Pod"
WATCHED_KINDS: Final = (*OUR_KINDS, *OWNED_KINDS, POD)

RESOURCES: Final[dict[str, Resource]] = {
    resource.kind: resource
    for resource in (
        Resource(QUEUE, GROUP, VERSION, "taskqueues"),
        Resource(LANE, GROUP, VERSION, "prioritylanes"),
        Resource(POOL, GROUP, VERSION, "workerpools"),
        Resource("Deployment", "apps", "v1", "deployments"),
        Resource("Service", "", "v1", "services"),
        Resource("PodDisruptionBudget", "policy", "v1", "poddisruptionbudgets"),
        Resource("NetworkPolicy", "networking.k8s.io", "v1", "networkpolicies"),
        Resource("HorizontalPodAutoscaler", "autoscaling", "v2", "horizontalpodautoscalers"),
        Resource(POD, "", "v1", "pods"),
        Resource("Secret", "", "v1", "secrets"),
        Resource("ConfigMap", "", "v1", "configmaps"),
        Resource("Event", "", "v1", "events"),
        Resource("Lease", "coordination.k8s.io", "v1", "leases"),
        Resource("APIService", "apiregistration.k8s.io", "v1", "apiservices", namespaced=False),
        Resource("CustomResourceDefinition", "apiextensions.k8s.io", "v1", "customresourcedefinitions", False),
        Resource("SelfSubjectAccessReview", "authorization.k8s.io", "v1", "selfsubjectaccessreviews", False),
        Resource("SubjectAccessReview", "authorization.k8s.io", "v1", "subjectaccessreviews", False),
    )
}


def gateway_name(queue: str) -> str:
    """The name of a queue's gateway: its Deployment, PodDisruptionBudget and NetworkPolicy."""
    return f"laneway-{queue}-gateway"


def poller_name(queue: str) -> str:
    """The name of a queue's poller: its Deployment, PodDisruptionBudget and NetworkPolicy."""
    return f"laneway-{queue}-poller"


def service_name(queue: str) -> str:
    """The name of the Service in front of a queue's gateway."""
    return f"laneway-{queue}"


def keys_name(queue: str) -> str:
    """The name of the Secret with the keys that the operator makes for a queue's HTTP API."""
    return f"{queue}-gateway-keys"


def worker_name(pool: str) -> str:
    """The name of a pool's workers: Deployment, PodDisruptionBudget, NetworkPolicy, HorizontalPodAutoscaler."""
    return f"laneway-{pool}-worker"


def queue_key(namespace: str, name: str) -> ObjectKey:
    """The key of a TaskQueue."""
    return ObjectKey(QUEUE, namespace, name)


def pool_key(namespace: str, name: str) -> ObjectKey:
    """The key of a WorkerPool."""
    return ObjectKey(POOL, namespace, name)


def lane_key(namespace: str, name: str) -> ObjectKey:
    """The key of a PriorityLane."""
    return ObjectKey(LANE, namespace, name)


def queue_of(body: Body) -> str:
    """The name of the queue that an object belongs to: by its ``queueRef``, or by its label. "" for none."""
    referred = body.get("spec", {}).get("queueRef")
    if isinstance(referred, dict):
        return str(referred.get("name", ""))
    return str(body["metadata"].get("labels", {}).get(QUEUE_LABEL, ""))


def pool_of(body: Body) -> str:
    """The name of the pool that an owned object or pod belongs to, by its label. "" for none."""
    return str(body["metadata"].get("labels", {}).get(POOL_LABEL, ""))


def paused(body: Body) -> bool:
    """Whether the object's annotation stops its reconciliation."""
    return bool(body["metadata"].get("annotations", {}).get(RECONCILE_ANNOTATION, "").lower() == PAUSED.lower())
