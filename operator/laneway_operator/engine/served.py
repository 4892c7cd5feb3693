"""Which kinds the API server serves."""

from __future__ import annotations

from collections.abc import Iterable

from laneway_operator.engine.cluster import Cluster
from laneway_operator.engine.errors import NotFound
from laneway_operator.keys import Resource


async def served_names(cluster: Cluster, group: str, version: str) -> frozenset[str]:
    """The plural names, and ``plural/subresource``, that are served of a group's version: none if it is not there.
    Raises ClusterError."""
    root = Resource("", group, version, "").root
    try:
        answer = await cluster.read_path(root)
    except NotFound:
        return frozenset()
    return frozenset(entry["name"] for entry in answer.get("resources", ()))


async def unserved(cluster: Cluster, resources: Iterable[Resource]) -> list[str]:
    """The ``plural.group/version`` of those that are not served. Raises ClusterError."""
    missing: list[str] = []
    served: dict[tuple[str, str], frozenset[str]] = {}
    for resource in resources:
        place = (resource.group, resource.version)
        if place not in served:
            served[place] = await served_names(cluster, *place)
        if resource.plural not in served[place]:
            missing.append(f"{resource.plural}.{resource.group}/{resource.version}")
    return missing
