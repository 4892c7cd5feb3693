"""Puts the CRDs of this repository into a cluster, and waits until it serves their objects."""

from __future__ import annotations

import time
from typing import Any

import yaml

from crds import FOLDERS, RESOURCES, Resource
from laneway.model.manifests import API_VERSION
from servers.kube_client import KubeClient, KubeError

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_SERVED_S = 30.0
_POLL_S = 0.05


def install(client: KubeClient) -> None:
    """Applies the CRDs in crds/, and returns once their objects can be listed.

    Raises:
        KubeError: the API server refused one.
        TimeoutError: one is not served in 30 s; the message has its conditions.
    """
    for resource in RESOURCES:
        document = yaml.safe_load((FOLDERS[0] / resource.file).read_text("utf-8"))
        client.apply(f"{DEFINITIONS}/{document['metadata']['name']}", document)
    deadline = time.monotonic() + _SERVED_S
    for resource in RESOURCES:
        while not _served(client, resource):
            if time.monotonic() > deadline:
                name = f"{resource.plural}.laneway.dev"
                raise TimeoutError(f"{name} is not served after {_SERVED_S:g} s: {conditions(client, resource)}")
            time.sleep(_POLL_S)


def conditions(client: KubeClient, resource: Resource) -> dict[str, dict[str, Any]]:
    """What the API server says of a CRD, by the type of the condition."""
    found = client.request("GET", f"{DEFINITIONS}/{resource.plural}.laneway.dev")
    return {one["type"]: one for one in found["status"].get("conditions", ())}


def _served(client: KubeClient, resource: Resource) -> bool:
    try:
        client.request("GET", f"/apis/{API_VERSION}/{resource.plural}?limit=1")
    except KubeError as error:
        if error.status != 404:
            raise
        return False
    # A CRD that was there before is served in its old form until the new one is taken up.
    return conditions(client, resource).get("Established", {}).get("status") == "True"
