"""The gateways of a queue: pods that serve its HTTP API."""

from __future__ import annotations

import json
from typing import Any, Final

from laneway.model.manifests.parts import SecretKey
from laneway.model.manifests.taskqueue import TaskQueue
from laneway_operator import names
from laneway_operator.resources.connection import connection, variable
from laneway_operator.resources.gateway_keys import HASHES
from laneway_operator.resources.pods import HTTP_PORT, Part, Run, deployment

_STOP_S: Final = 30
_LINGER_S: Final = 5
_KEYS: Final = "/etc/laneway/keys"


def gateway_deployment(
    queue: TaskQueue, part: Part, *, image: str, default_redis: str | SecretKey, credentials_hash: str
) -> dict[str, Any]:
    """The Deployment of a queue's gateways."""
    spec = queue.spec.gateway
    connected = connection(queue, default_redis)
    run = Run(
        image=image,
        command=("laneway", "gateway", "--host", "0.0.0.0", "--port", str(HTTP_PORT)),
        env=(
            *common_env(queue),
            *connected.env,
            variable("LANEWAY_AUTH", gateway_auth(queue)),
            *(variable(var.name, var.value) for var in spec.env),
        ),
        connection=connected,
        ports={"http": HTTP_PORT},
        probe_port="http",
        stop_s=_STOP_S,
        credentials_hash=credentials_hash,
        resources=spec.resources,
        pod=spec.pod,
        linger_s=_LINGER_S,
        **_mounted_keys(queue),
    )
    return deployment(part, run, spec.replicas)


def gateway_auth(queue: TaskQueue) -> str:
    """What the gateway is told of authentication: the document of ``laneway gateway --auth``, as JSON."""
    auth = queue.spec.gateway.auth
    if auth.mode == "None":
        return "none"
    document = auth.model_dump(exclude_defaults=True, exclude={"keys"})
    if _keys_of(queue) is not None:
        document["keys"] = {"path": f"{_KEYS}/{HASHES}"}
    return json.dumps(document, sort_keys=True, separators=(",", ":"))


def _keys_of(queue: TaskQueue) -> tuple[str, str] | None:
    """The Secret and the key in it that has the hashes; None: the queue takes no API keys."""
    auth = queue.spec.gateway.auth
    if auth.needs_own_keys:
        return names.keys_name(queue.metadata.name), HASHES
    if auth.keys is not None and auth.keys.secretRef is not None:
        return auth.keys.secretRef.name, auth.keys.secretRef.key
    return None


def _mounted_keys(queue: TaskQueue) -> dict[str, Any]:
    """The hashes as a file, and nothing else of the Secret. A folder is mounted, not the file alone, which the kubelet
    would never bring up to date; gateways read it again when it does, so pods are not replaced for new keys."""
    found = _keys_of(queue)
    if found is None:
        return {}
    name, key = found
    secret = {"secretName": name, "defaultMode": 0o440, "items": [{"key": key, "path": HASHES}]}
    return {
        "volumes": [{"name": "keys", "secret": secret}],
        "mounts": [{"name": "keys", "mountPath": _KEYS, "readOnly": True}],
    }


def common_env(queue: TaskQueue) -> list[dict[str, Any]]:
    """What all roles are told of the queue they serve."""
    return [
        variable("LANEWAY_QUEUE", queue.metadata.name),
        variable("LANEWAY_NAMESPACE", queue.metadata.namespace),
        variable("LANEWAY_LOG_FORMAT", "json"),
    ]
