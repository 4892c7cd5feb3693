"""Conditions of Laneway's objects: their types, and every reason that one can have, with what it means.

``docs/reference`` has a table that is made of this.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final, Literal

Condition = dict[str, Any]
State = Literal["True", "False", "Unknown"]


class ConditionType(StrEnum):
    """The types of conditions."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    PAUSED = "Paused"
    TOPICS_READY = "TopicsReady"
    LIMITER_READY = "LimiterReady"
    GATEWAY_AVAILABLE = "GatewayAvailable"
    POLLER_AVAILABLE = "PollerAvailable"
    WORKERS_AVAILABLE = "WorkersAvailable"
    SCALING_ACTIVE = "ScalingActive"


class Reason(StrEnum):
    """Why a condition is as it is; ``meaning`` is the line that the docs show."""

    meaning: str

    def __new__(cls, value: str, meaning: str) -> Reason:
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    READY = "Ready", "All that the object asks for is there and works."
    PROGRESSING = "Progressing", "What the object asks for is being made."
    UP_TO_DATE = "UpToDate", "Nothing is left to do for this generation of the object."
    AVAILABLE = "Available", "Enough pods are ready."
    PODS_STARTING = (
        "PodsStarting",
        "Some pods are ready, and others are to come: a scale-up, or the replacement of lost ones.",
    )
    UNAVAILABLE = "Unavailable", "Pods were ready, and none is any more."
    PODS_FAILING = (
        "PodsFailing",
        "Pods can't be made, have no node, can't start, or end again and again; the message names one and says why.",
    )
    ROLLOUT_STUCK = (
        "RolloutStuck",
        "A change of the pods has made no progress for 10 minutes; the former pods may still run.",
    )
    SCALED_TO_ZERO = "ScaledToZero", "No pods are asked for."
    PAUSED = "Paused", "spec.paused, or the annotation laneway.dev/reconcile: Paused."
    NOT_PAUSED = "NotPaused", "The object is reconciled."
    INVALID_SPEC = "InvalidSpec", "The object asks for what can't be; the message says what would be right."
    DELETING = "Deleting", "The object is being deleted, and what it holds is drained."
    QUEUE_NOT_FOUND = "QueueNotFound", "The TaskQueue that queueRef names is not there."
    QUEUE_NOT_READY = (
        "QueueNotReady",
        "The TaskQueue that queueRef names is not ready: its topics, its limiter or its spec; the message says why.",
    )
    SECRET_NOT_FOUND = "SecretNotFound", "A Secret that is referred to is not there, or has not that key."
    RESOURCE_CONFLICT = (
        "ResourceConflict",
        "A name that the object needs is taken by an older or by a foreign object, which is left as it is.",
    )
    SECRET_INVALID = "SecretInvalid", "A Secret holds what can't be used, such as a certificate that is none."
    ACCESS_DENIED = "AccessDenied", "Redis, Kafka or the API server does not allow it to the operator's user."
    FOREIGN_TOPIC = "ForeignTopic", "A topic of the queue's name exists, and the operator has not made it."
    TOPICS_LACKING = "TopicsLacking", "Topics that others care for (kafka.topics: Unmanaged) are not as they must be."
    KAFKA_REFUSED = "KafkaRefused", "Kafka does not take a topic as it is asked for, such as one with too many copies."
    SERVER_REFUSED = "ServerRefused", "Redis is set up so that the queue's promises could not be kept."
    REDIS_MOVED = (
        "RedisMoved",
        "spec.redis names a server that does not hold the queue's data: nothing is changed, so that no task is lost.",
    )
    SCHEMA_TOO_NEW = "SchemaTooNew", "The queue's data in Redis was written by a newer Laneway than this one."
    SCALED = "Scaled", "The number of replicas is as decided; status.scaling says how that came about."
    METRIC_UNREADABLE = (
        "MetricUnreadable",
        "What the size follows can't be read, so the size is kept. It is never taken for zero.",
    )
    QUEUE_PAUSED = "QueuePaused", "Tasks wait in paused lanes, or the queue is paused: replicas are not added for them."
    SHADOW = "Shadow", "scaling.shadow: the size is decided and shown, and spec.replicas is kept."
    MANAGED_BY_HPA = "ManagedByHPA", "The HorizontalPodAutoscaler that the operator made sets spec.replicas."
    MANAGED_EXTERNALLY = (
        "ManagedExternally",
        "scaling.controller: None. kubectl scale, KEDA or an HPA of one's own sets spec.replicas.",
    )
    AUTOSCALER_CONFLICT = (
        "AutoscalerConflict",
        "Another HorizontalPodAutoscaler scales the pool or its Deployment; it has its way, and Laneway's steps back.",
    )
    METRICS_API_CONFLICT = (
        "MetricsAPIConflict",
        "The APIService v1beta1.external.metrics.k8s.io belongs to another adapter, which is left as it is.",
    )
    DEPENDENCY_UNAVAILABLE = (
        "DependencyUnavailable",
        "Redis, Kafka or the API server is not reached; it is tried again.",
    )
    RECONCILE_ERROR = "ReconcileError", "A pass failed in an unexpected way; it is tried again, and the log says more."


class Happening(StrEnum):
    """Reasons of events that tell of what a pass did, beside those that tell of conditions."""

    meaning: str

    def __new__(cls, value: str, meaning: str) -> Happening:
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    TOPICS_MADE = "TopicsMade", "Topics that were missing were made."
    TOPICS_ADOPTED = "TopicsAdopted", "Topics that were there already were taken over (kafka.topics: Adopt)."
    TOPICS_LEFT_BEHIND = (
        "TopicsLeftBehind",
        "The queue is on another Kafka cluster now; its topics in the former one stay there, and the event names them.",
    )
    TOPIC_GROWN = "TopicGrown", "A topic got more partitions."
    TOPIC_CONFIGURED = "TopicConfigured", "Settings of a topic that were not as asked for were set."
    SCRIPTS_LOADED = "ScriptsLoaded", "Redis had lost scripts, and has them again."
    LIMITER_CONFIGURED = "LimiterConfigured", "The live configuration in Redis was written."
    OBJECTS_APPLIED = "ObjectsApplied", "Objects that had gone, or were not as asked for, were applied."
    KEYS_MADE = "KeysMade", "The Secret with the keys of the queue's HTTP API was made, since there was none."
    QUEUE_ERASED = "QueueErased", "The queue's topics and its data in Redis were deleted (deletionPolicy: Delete)."
    DATA_ABANDONED = "DataAbandoned", "The queue went to another Redis, and left what it had in the former one."
    CLEANUP_ABANDONED = "CleanupAbandoned", "A deleted queue was let go with things left behind; the event names them."


class EventType(StrEnum):
    """The two types of Kubernetes events."""

    NORMAL = "Normal"
    WARNING = "Warning"


#: Conditions whose status "True" tells of trouble or of a pause; of all others, "True" is good.
ABNORMAL: Final = frozenset({ConditionType.RECONCILING, ConditionType.STALLED, ConditionType.PAUSED})


def condition(
    type: ConditionType, status: bool | None, reason: Reason, message: str = "", *, generation: int = 0
) -> Condition:
    """A condition without its time: ``apply.status`` keeps the time of the last change of status.

    ``status`` None is "Unknown". ``message`` has at most 32,768 characters, as the API server demands.
    """
    state: State = "Unknown" if status is None else "True" if status else "False"
    return {
        "type": str(type),
        "status": state,
        "reason": str(reason),
        "message": message[:32_768],
        "observedGeneration": generation,
    }
