"""What the API server will not have in an owned object is told, with object and field; all else is still made."""

from __future__ import annotations

import pytest
from tests.operator.limiter import Limiter
from tests.operator.running import Object, World, until

from servers.redis import RedisServer

#: What a WorkerPool may hold by its CRD (Kubernetes defines it), and a Deployment may not.
_WRONG: dict[str, tuple[Object, str]] = {
    "volume": (
        {"volumes": [{"name": "x", "nonsense": {"a": 1}}], "volumeMounts": [{"name": "x", "mountPath": "/x"}]},
        "nonsense: field not declared in schema",
    ),
    "affinity": ({"pod": {"affinity": {"nodeAffinity": {"bogus": 5}}}}, "bogus: field not declared in schema"),
    "type": ({"volumes": [{"name": "x", "emptyDir": "text"}]}, "emptyDir"),
    "spread": (
        {
            "pod": {
                "topologySpreadConstraints": [
                    {"maxSkew": 1, "topologyKey": "a/b", "whenUnsatisfiable": "DoNotSchedule", "bogus": 1}
                ]
            }
        },
        "bogus: field not declared in schema",
    ),
}


@pytest.fixture
def queue(world: World, redis7: RedisServer) -> str:
    redis7.ensure()
    if world.find("TaskQueue", "refused") is None:
        world.create("TaskQueue", "refused", {"redis": {"url": redis7.url}})
    return "refused"


@pytest.mark.parametrize("what", _WRONG)
def test_a_field_that_kubernetes_has_not_is_told_with_its_name(world: World, queue: str, what: str) -> None:
    wrong, says = _WRONG[what]
    name = f"refused-{what}"
    world.create("WorkerPool", name, {"queueRef": {"name": queue}, "app": "a:b", **wrong})
    for type, status in (("WorkersAvailable", "False"), ("Ready", "False"), ("Stalled", "True")):
        told = world.told("WorkerPool", name, type, status, "InvalidSpec")
        assert says in told["message"]
        assert f"laneway-{name}-worker" in told["message"]
    assert world.get("WorkerPool", name)["status"]["observedGeneration"] == 1
    until("an event tells it", lambda: any(says in str(event) for event in world.events(name)))
    until("the rest is made", lambda: world.find("NetworkPolicy", f"laneway-{name}-worker"))


def test_a_pool_that_was_ready_is_so_no_more_once_it_asks_for_what_can_not_be(world: World, queue: str) -> None:
    name = "refused-later"
    world.create("WorkerPool", name, {"queueRef": {"name": queue}, "app": "a:b", "replicas": 1})
    world.applied("Deployment", f"laneway-{name}-worker")
    world.make_available(f"laneway-{name}-worker")
    world.told("WorkerPool", name, "Ready", "True")
    world.patch("WorkerPool", name, {"spec": {"replicas": 5, **_WRONG["volume"][0]}})
    world.told("WorkerPool", name, "Ready", "False", "InvalidSpec")
    pool = world.get("WorkerPool", name)
    assert pool["status"]["observedGeneration"] == pool["metadata"]["generation"] == 2
    assert world.get("Deployment", f"laneway-{name}-worker")["spec"]["replicas"] == 1


def test_a_gateway_that_can_not_be_stops_neither_poller_nor_limiter(world: World, redis7: RedisServer) -> None:
    redis7.ensure()
    name = "refused-gateway"
    world.create("TaskQueue", name, {"redis": {"url": redis7.url}, "gateway": _WRONG["spread"][0]})
    told = world.told("TaskQueue", name, "GatewayAvailable", "False", "InvalidSpec")
    assert _WRONG["spread"][1] in told["message"]
    until("the poller is made", lambda: world.find("Deployment", f"laneway-{name}-poller"))
    until("the limiter is configured", Limiter(redis7.url, world.namespace, name).config)
    assert world.get("TaskQueue", name)["status"]["observedGeneration"] == 1
