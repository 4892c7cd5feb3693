"""Whether the pods of a Deployment do their work, and if not, why. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from laneway_operator.conditions import Condition, ConditionType, Reason
from laneway_operator.keys import Body
from laneway_operator.plan.status import Finding

#: Reasons for which a container waits while all goes well.
_ON_THE_WAY: Final = frozenset({"ContainerCreating", "PodInitializing", ""})
_CRASHES: Final = "CrashLoopBackOff"
_ENDED: Final = frozenset({"Failed", "Succeeded"})
#: So much (characters) of a pod's own words goes into a message.
_LONGEST: Final = 300
_COMPLETE: Final = "NewReplicaSetAvailable"
_STUCK: Final = "ProgressDeadlineExceeded"
#: Who was so had pods that were ready.
_HAD_PODS: Final = frozenset({Reason.AVAILABLE, Reason.PODS_STARTING, Reason.UNAVAILABLE})


def pods(
    type: ConditionType,
    deployment: Mapping[str, Any] | None,
    wanted: int | None,
    *,
    before: Condition | None = None,
    changed: bool = False,
    there: Callable[[], Iterable[Body]] = tuple,
) -> Finding:
    """Whether the pods of a Deployment do their work; ``wanted`` None: as many as it asks for itself.

    ``before`` is the condition that was told last, ``changed`` whether this pass has given the Deployment another
    template. What counts is that the template is rolled out, as for ``kubectl rollout status``; that the number of pods
    is another than before takes the readiness from nobody. ``there`` is asked for the pods only if some are lacking.
    """
    if deployment is None:
        return Finding(type, False, Reason.PROGRESSING, "the Deployment is being made")
    meta, status, spec = deployment["metadata"], deployment.get("status") or {}, deployment.get("spec") or {}
    count = int(spec.get("replicas", 1)) if wanted is None else wanted
    if count == 0:
        return Finding(type, True, Reason.SCALED_TO_ZERO, "no pods are asked for")
    name = meta["name"]
    was = before["reason"] if before is not None else ""
    if int(status.get("observedGeneration") or 0) < int(meta.get("generation") or 0):
        # Its status is about an older spec. Only who knows that the template is as it was may go on as before.
        if not changed and before is not None and before["status"] == "True" and was in _HAD_PODS:
            kept = Reason.PODS_STARTING if was == Reason.PODS_STARTING else Reason.AVAILABLE
            return Finding(type, True, kept, before.get("message", ""))
        return Finding(
            type, False, Reason.PROGRESSING, f"the newest change of Deployment {name} is not carried out yet"
        )
    updated, available = int(status.get("updatedReplicas") or 0), int(status.get("availableReplicas") or 0)
    said = {one["type"]: one for one in status.get("conditions") or ()}
    progress = said.get("Progressing", {}).get("reason")
    complete = progress == _COMPLETE or (updated >= count and available >= updated)
    if int(status.get("replicas") or 0) > updated or not complete:
        message = f"rollout of {name}: {updated} of {count} pods are updated, {available} available"
        return _lacking(type, message, Reason.ROLLOUT_STUCK if progress == _STUCK else Reason.PROGRESSING, said, there)
    if updated > count and was in (Reason.SCALED_TO_ZERO, Reason.PROGRESSING):
        # The numbers are those of the pods that went when it was scaled to zero.
        return Finding(
            type, False, Reason.PROGRESSING, f"the newest change of Deployment {name} is not carried out yet"
        )
    if available >= count:
        return Finding(type, True, Reason.AVAILABLE)
    message = f"{available} of {count} pods of {name} are available"
    # Of no pods at all, this is the word from before the scale-up.
    if available and said.get("Available", {}).get("status") == "True":
        trouble = pod_trouble(there())
        return Finding(type, True, Reason.AVAILABLE, f"{message}; {trouble}" if trouble else "")
    if available:
        return _lacking(type, message, Reason.PODS_STARTING, said, there)
    return _lacking(type, message, Reason.UNAVAILABLE if was in _HAD_PODS else Reason.PROGRESSING, said, there)


def _lacking(
    type: ConditionType,
    message: str,
    else_reason: Reason,
    said: Mapping[str, Mapping[str, Any]],
    there: Callable[[], Iterable[Body]],
) -> Finding:
    """Why pods are lacking: what they say themselves, or ``else_reason``."""
    refused = said.get("ReplicaFailure", {})
    trouble = pod_trouble(there()) or (
        f"pods can't be made: {_head(str(refused.get('message')))}" if refused.get("status") == "True" else ""
    )
    if not trouble:
        return Finding(type, else_reason is Reason.PODS_STARTING, else_reason, message)
    reason = else_reason if else_reason is Reason.ROLLOUT_STUCK else Reason.PODS_FAILING
    return Finding(type, False, reason, f"{message}; {trouble}")


def pod_trouble(pods: Iterable[Body]) -> str:
    """The worst pod and what is wrong with it, such as "laneway-x-abc: ImagePullBackOff localhost/nope:3"; "" if none
    says of itself that anything is. What never ran or always dies is worse than what has no node."""
    found = sorted(
        (rank, pod["metadata"]["name"], text)
        for pod in pods
        if not pod["metadata"].get("deletionTimestamp") and pod["status"].get("phase") not in _ENDED
        for rank, text in [_trouble(pod["status"])]
        if text
    )
    if not found:
        return ""
    _, name, text = found[0]
    return f"{name}: {text}{f' (and {len(found) - 1} more pods)' if len(found) > 1 else ''}"


def _trouble(status: Mapping[str, Any]) -> tuple[int, str]:
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        if text := _container_trouble(container):
            name = container.get("name", "")
            return 0, text if name == "laneway" else f"container {name}: {text}"
    for one in status.get("conditions") or ():
        if one.get("type") == "PodScheduled" and one.get("status") == "False":
            return 1, ": ".join(filter(None, (one.get("reason", "Unschedulable"), _head(one.get("message") or ""))))
    return 2, ""


def _container_trouble(container: Mapping[str, Any]) -> str:
    state, last = container.get("state") or {}, container.get("lastState") or {}
    waiting = state.get("waiting") or {}
    ended = state.get("terminated") or last.get("terminated") or {}
    reason, message = str(waiting.get("reason") or ""), _head(str(waiting.get("message") or ""))
    if "Image" in reason:
        return f"{reason} {container.get('image', '')}{f': {message}' if message else ''}"
    if reason not in _ON_THE_WAY and reason != _CRASHES:
        return f"{reason}{f': {message}' if message else ''}"
    if not ended.get("exitCode"):
        return reason if reason == _CRASHES else ""
    why = ended.get("reason") or "Error"
    words = _tail(str(ended.get("message") or ""))
    return (
        f"{reason if reason == _CRASHES else why} (exit code {ended['exitCode']}, {why}){f': {words}' if words else ''}"
    )


def _head(text: str) -> str:
    text = text.strip()
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _tail(text: str) -> str:
    # The last lines of a log say why it ended.
    text = text.strip()
    return text if len(text) <= _LONGEST else f"...{text[3 - _LONGEST :]}"
