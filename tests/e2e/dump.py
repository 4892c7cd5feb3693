"""What the cluster looks like when a test has failed."""

from __future__ import annotations

import json
import subprocess

from tests.e2e.settings import APPS, SYSTEM

_LINES = 40


def everything() -> str:
    """Objects, conditions, events and the last lines of all logs, of both namespaces."""
    parts = [_said("kubectl", "get", "taskqueues,prioritylanes,workerpools", "-A", "-o", "wide")]
    for namespace in (SYSTEM, APPS):
        parts.append(_said("kubectl", "-n", namespace, "get", "all,pdb,netpol,hpa,lease", "-o", "wide"))
        parts.append(_said("kubectl", "-n", namespace, "get", "events", "--sort-by=.lastTimestamp", tail=60))
    parts.append(_said("kubectl", "-n", APPS, "describe", "taskqueues,prioritylanes,workerpools", tail=300))
    for namespace in (SYSTEM, APPS):
        parts += [_logs(namespace, pod, container, before) for pod, container, before in _containers(namespace)]
    return "\n\n".join(part for part in parts if part)


def _containers(namespace: str) -> list[tuple[str, str, bool]]:
    listed = _output("kubectl", "-n", namespace, "get", "pods", "-o", "json")
    try:
        pods = json.loads(listed)["items"]
    except ValueError:
        return []
    found: list[tuple[str, str, bool]] = []
    for pod in pods:
        status = pod.get("status", {})
        for each in (*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])):
            found.append((pod["metadata"]["name"], each["name"], False))
            if each.get("restartCount"):
                found.append((pod["metadata"]["name"], each["name"], True))
    return found


def _logs(namespace: str, pod: str, container: str, before: bool) -> str:
    previous = ["--previous"] if before else []
    return _said("kubectl", "-n", namespace, "logs", pod, "-c", container, f"--tail={_LINES}", *previous)


def _said(*argv: str, tail: int = 200) -> str:
    lines = _output(*argv).splitlines()[-tail:]
    return "\n".join([f"$ {' '.join(argv)}", *lines])


def _output(*argv: str) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=20)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"({error})"
    return done.stdout + done.stderr
