"""`laneway-operator check`: whether the operator could work here, before it starts to.

It asks the API server for its version, for Laneway's kinds, and for each right that ``permissions`` lists.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from enum import StrEnum

from laneway_operator import names
from laneway_operator.engine.cluster import Cluster
from laneway_operator.engine.errors import ClusterError, NotFound
from laneway_operator.engine.served import served_names
from laneway_operator.keys import Body
from laneway_operator.permissions import ADAPTER_ROLE, LEASE, Permission, Where, needed
from laneway_operator.settings import OperatorSettings

#: How many questions are asked at once.
_AT_ONCE = 8


class Result(StrEnum):
    """How a check ended."""

    OK = "ok"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    what: str
    result: Result
    detail: str = ""

    def as_json(self) -> dict[str, str]:
        """For the output."""
        return {name: str(value) for name, value in asdict(self).items()}


async def run_checks(
    cluster: Cluster, settings: OperatorSettings, *, adapter: bool = False, owner: str = ""
) -> list[Check]:
    """All checks, in the order that the output shows. An API server that is not reached ends them early. ``owner``:
    the ClusterRole that an adapter's APIService is deleted with ("": none, so it need not be read)."""
    first = await check_server(cluster)
    if first.result is not Result.OK:
        return [first]
    rights = [
        replace(one, name=owner) if one.name == ADAPTER_ROLE else one
        for one in needed(adapter=adapter)
        if one.name != ADAPTER_ROLE or owner
    ]
    return [first, *await check_kinds(cluster), *await check_rights(cluster, settings, rights)]


async def check_server(cluster: Cluster) -> Check:
    """Whether the API server answers."""
    try:
        version = await cluster.read_path("/version")
    except ClusterError as error:
        return Check("API server", Result.FAILED, str(error))
    return Check("API server", Result.OK, str(version.get("gitVersion", "")))


async def check_kinds(cluster: Cluster) -> list[Check]:
    """Whether Laneway's kinds are served in the version that this operator knows, each with a status."""
    try:
        found = await served_names(cluster, names.GROUP, names.VERSION)
        if not found:
            versions = await _served_versions(cluster)
            there = f"; served: {', '.join(versions)}" if versions else ""
            why = f"{names.GROUP}/{names.VERSION} is not served{there}; install the CRDs of this version (crds/)"
            return [Check(f"CRD {kind}", Result.FAILED, why) for kind in names.OUR_KINDS]
    except ClusterError as error:
        return [Check("CRDs", Result.UNKNOWN, str(error))]
    return [_check_kind(kind, found) for kind in names.OUR_KINDS]


def _check_kind(kind: str, found: frozenset[str]) -> Check:
    plural = names.RESOURCES[kind].plural
    wanted = {plural, f"{plural}/status"} | ({f"{plural}/scale"} if kind == names.POOL else set())
    missing = sorted(wanted - found)
    if missing:
        return Check(f"CRD {kind}", Result.FAILED, f"not served: {', '.join(missing)}; install the CRDs (crds/)")
    return Check(f"CRD {kind}", Result.OK, f"{names.GROUP}/{names.VERSION}")


async def _served_versions(cluster: Cluster) -> list[str]:
    try:
        group = await cluster.read_path(f"/apis/{names.GROUP}")
    except NotFound:
        return []
    return [version["version"] for version in group.get("versions", ())]


async def check_rights(cluster: Cluster, settings: OperatorSettings, permissions: Iterable[Permission]) -> list[Check]:
    """Whether each verb that is needed is allowed, in each namespace that it is needed in."""
    limit = asyncio.Semaphore(_AT_ONCE)

    async def check(permission: Permission, namespace: str) -> Check:
        async with limit:
            return await _check_right(cluster, _named(permission, settings), namespace)

    asked = [check(one, namespace) for one in permissions for namespace in _namespaces(one, settings)]
    return list(await asyncio.gather(*asked))


def _named(permission: Permission, settings: OperatorSettings) -> Permission:
    return replace(permission, name=settings.lease_name) if permission.name == LEASE else permission


def _namespaces(permission: Permission, settings: OperatorSettings) -> tuple[str, ...]:
    match permission.where:
        case Where.OWN:
            return (settings.lease_namespace,)
        case Where.WATCHED:
            return settings.namespaces or ("",)
        case Where.CLUSTER:
            return ("",)


async def _check_right(cluster: Cluster, permission: Permission, namespace: str) -> Check:
    resource = f"{permission.resource}.{permission.group}" if permission.group else permission.resource
    name = permission.name
    where = f"in namespace {namespace}" if namespace else "in all namespaces"
    what = f"{'/'.join(permission.verbs)} {resource}{f' {name!r}' if name else ''} {where}"
    refused: list[str] = []
    for verb in permission.verbs:
        try:
            answer = await cluster.ask(_review(permission, verb, namespace, name))
        except ClusterError as error:
            return Check(what, Result.UNKNOWN, str(error))
        if not answer.get("status", {}).get("allowed"):
            refused.append(verb)
    if refused:
        return Check(what, Result.FAILED, f"{', '.join(refused)} is not allowed; it {permission.why}")
    return Check(what, Result.OK)


def _review(permission: Permission, verb: str, namespace: str, name: str) -> Body:
    plural, _, subresource = permission.resource.partition("/")
    attributes = {"verb": verb, "group": permission.group, "resource": plural, "namespace": namespace, "name": name}
    if subresource:
        attributes["subresource"] = subresource
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
