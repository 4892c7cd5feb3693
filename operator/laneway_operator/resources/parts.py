"""The parts that an object owns, and all that belongs to each of them."""

from __future__ import annotations

from typing import Final

from laneway.model.manifests import TaskQueue, WorkerPool
from laneway.model.manifests.parts import SecretKey
from laneway_operator import names
from laneway_operator.keys import Body
from laneway_operator.resources.disruption import disruption_budget
from laneway_operator.resources.gateway import gateway_deployment
from laneway_operator.resources.network import network_policy
from laneway_operator.resources.pods import HTTP_PORT, METRICS_PORT, Part
from laneway_operator.resources.poller import poller_deployment
from laneway_operator.resources.service import gateway_service
from laneway_operator.resources.workers import worker_deployment

_WORKERS_AT_ONCE: Final = "25%"


def owner_of(body: Body) -> Body:
    """The reference by which an object owns what was made for it."""
    return {
        "apiVersion": body["apiVersion"],
        "kind": body["kind"],
        "name": body["metadata"]["name"],
        "uid": body["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def gateway_part(body: Body, version: str) -> Part:
    """The gateways of a TaskQueue."""
    meta = body["metadata"]
    name = names.gateway_name(meta["name"])
    return Part("gateway", name, meta["namespace"], meta["name"], meta["name"], owner_of(body), version)


def poller_part(body: Body, version: str) -> Part:
    """The pollers of a TaskQueue."""
    meta = body["metadata"]
    name = names.poller_name(meta["name"])
    return Part("poller", name, meta["namespace"], meta["name"], meta["name"], owner_of(body), version)


def worker_part(body: Body, version: str) -> Part:
    """The workers of a WorkerPool."""
    meta = body["metadata"]
    queue = names.queue_of(body)
    name = names.worker_name(meta["name"])
    return Part("worker", name, meta["namespace"], meta["name"], queue, owner_of(body), version, pool=meta["name"])


def queue_objects(
    queue: TaskQueue, body: Body, *, image: str, version: str, default_redis: str | SecretKey, credentials_hash: str
) -> list[Body]:
    """All that a TaskQueue owns."""
    gateway, poller = gateway_part(body, version), poller_part(body, version)
    image = queue.spec.image or image
    return [
        gateway_service(gateway, names.service_name(queue.metadata.name), queue.spec.gateway.serviceType),
        gateway_deployment(queue, gateway, image=image, default_redis=default_redis, credentials_hash=credentials_hash),
        disruption_budget(gateway),
        network_policy(gateway, HTTP_PORT),
        poller_deployment(queue, poller, image=image, default_redis=default_redis, credentials_hash=credentials_hash),
        disruption_budget(poller),
        network_policy(poller, METRICS_PORT),
    ]


def pool_objects(
    queue: TaskQueue,
    pool: WorkerPool,
    body: Body,
    replicas: int | None,
    *,
    image: str,
    version: str,
    default_redis: str | SecretKey,
    credentials_hash: str,
) -> list[Body]:
    """All that a WorkerPool owns, without what scaling adds."""
    part = worker_part(body, version)
    workers = worker_deployment(
        queue,
        pool,
        part,
        replicas,
        image=pool.spec.image or image,
        default_redis=default_redis,
        credentials_hash=credentials_hash,
    )
    return [workers, disruption_budget(part, at_once=_WORKERS_AT_ONCE), network_policy(part, METRICS_PORT)]
