"""The APIService that leads the API server here: made and kept where it is ours, reported where it is another's."""

from __future__ import annotations

import base64
from typing import Any, Final

from laneway_operator import names
from laneway_operator.engine.cluster import Cluster
from laneway_operator.engine.errors import Conflict
from laneway_operator.keys import Body, ObjectKey
from laneway_operator.permissions import APISERVICE

GROUP: Final = "external.metrics.k8s.io"
VERSION: Final = "v1beta1"
KEY: Final = ObjectKey("APIService", "", APISERVICE)


class MetricsAPIConflict(Exception):
    """Another adapter has the APIService, which was left as it is; the message says which."""


class Registration:
    """Registers the adapter's Service. ``owner``: a ClusterRole that the APIService is to go with ("": none)."""

    def __init__(self, cluster: Cluster, namespace: str, service: str, port: int, owner: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._service = service
        self._port = port
        self._owner = owner

    async def ensure(self, ca_bundle: bytes) -> bool:
        """Makes the APIService so that the API server trusts ``ca_bundle`` (PEM). Returns whether it wrote.

        Raises:
            MetricsAPIConflict: it is another's.
            ClusterError: the API server refused, or was not reached.
        """
        live = await self._cluster.find(KEY)
        if live is not None and not self._is_ours(live):
            raise MetricsAPIConflict(_whose(live))
        wanted = self._wanted(ca_bundle, await self._owners())
        if live is not None and _agrees(wanted, live):
            return False
        try:
            # Without force first: what has come in between is another's, and is not taken over.
            await self._cluster.apply(wanted, force=live is not None)
        except Conflict:
            there = await self._cluster.find(KEY)
            raise MetricsAPIConflict(_whose(there) if there is not None else "another adapter") from None
        return True

    def _is_ours(self, live: Body) -> bool:
        service = (live.get("spec") or {}).get("service") or {}
        labelled = live["metadata"].get("labels", {}).get(names.MANAGED_BY_LABEL) == names.MANAGED_BY
        # A second installation of Laneway is another adapter as well.
        return labelled and (service.get("namespace"), service.get("name")) == (self._namespace, self._service)

    def _wanted(self, ca_bundle: bytes, owners: list[Body]) -> Body:
        metadata: Body = {
            "name": APISERVICE,
            "labels": {
                names.MANAGED_BY_LABEL: names.MANAGED_BY,
                names.NAME_LABEL: "laneway",
                names.COMPONENT_LABEL: "adapter",
            },
        }
        if owners:
            metadata["ownerReferences"] = owners
        return {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": metadata,
            "spec": {
                "group": GROUP,
                "version": VERSION,
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "service": {"name": self._service, "namespace": self._namespace, "port": self._port},
                "caBundle": base64.b64encode(ca_bundle).decode(),
            },
        }

    async def _owners(self) -> list[Body]:
        """An APIService whose Service is gone breaks discovery for everybody; so it goes when the adapter is
        uninstalled, with a ClusterRole of the same installation."""
        if not self._owner:
            return []
        body = await self._cluster.find(ObjectKey("ClusterRole", "", self._owner))
        if body is None:
            return []
        return [
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRole",
                "name": self._owner,
                "uid": body["metadata"]["uid"],
            }
        ]


def _agrees(wanted: Any, live: Any) -> bool:
    """Whether all that is wanted is there; the API server may have added to it."""
    if isinstance(wanted, dict):
        return isinstance(live, dict) and all(_agrees(value, live.get(name)) for name, value in wanted.items())
    return bool(wanted == live)


def _whose(live: Body) -> str:
    service = (live.get("spec") or {}).get("service") or {}
    where = f"the Service {service.get('namespace')}/{service.get('name')}" if service else "the API server itself"
    return (
        f"the APIService {APISERVICE} belongs to {where}, which is left as it is: a cluster has room for one such"
        " adapter. Uninstall that one, or switch Laneway's adapter off and scale by scaling.controller: Operator"
    )
