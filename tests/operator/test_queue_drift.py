"""What others change or lose behind the operator's back is put right within 10 s."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.operator.limiter import Limiter
from tests.operator.running import World, until
from tests.operator.topics import TestTopics

from servers.kafka import KafkaServer
from servers.redis import RedisServer

Object = dict[str, Any]


@pytest.fixture
def queue(world: World, redis7: RedisServer, kafka: KafkaServer) -> str:
    """A queue over Kafka that is ready; all tests here share it."""
    redis7.ensure()
    name = "drift"
    if world.find("TaskQueue", name) is None:
        spec = {
            "redis": {"url": redis7.url},
            "kafka": {"bootstrapServers": [kafka.bootstrap], "partitions": 3},
            "limits": {"maxDepth": 77},
            "tenants": {"overrides": [{"name": "acme", "maxRunning": 3}]},
        }
        world.create("TaskQueue", name, spec)
    world.run_queue(name)
    return name


@pytest.fixture
def limiter(world: World, redis7: RedisServer, queue: str) -> Limiter:
    return Limiter(redis7.url, world.namespace, queue)


def test_deleted_topics_are_made_again_and_changed_settings_set(world: World, kafka: KafkaServer, queue: str) -> None:
    topics, prefix = TestTopics(kafka.bootstrap), f"laneway.{world.namespace}.{queue}"
    tasks, events, dead = (f"{prefix}.{part}" for part in ("tasks", "events", "dead"))
    before = topics.get(tasks, events, dead)
    topics.configure(dead, retention_ms="5000", segment_bytes="10000000")
    topics.delete([tasks, events])
    until("the topics are gone", lambda: topics.get(tasks, events) == {}, pause=0.01)
    until("the topics are there again", lambda: topics.get(tasks, events) == {
        name: before[name] for name in (tasks, events)
    })  # fmt: skip
    until("the retention is as asked for",
          lambda: topics.get(dead)[dead].configs["retention.ms"] == str(720 * 3600 * 1000))  # fmt: skip
    # What somebody else has set, and Laneway does not care for, stays.
    assert topics.get(dead)[dead].configs["segment.bytes"] == "10000000"
    assert "retention.ms=" in world.event(queue, "TopicConfigured")[2]


def _edit_image(deployment: Object) -> None:
    deployment["spec"]["template"]["spec"]["containers"][0]["image"] = "example.org/other:1"


def _edit_replicas(deployment: Object) -> None:
    deployment["spec"]["replicas"] = 9


def _edit_command(deployment: Object) -> None:
    deployment["spec"]["template"]["spec"]["containers"][0]["command"] = ["sleep", "1000"]


def _drop_hash(deployment: Object) -> None:
    del deployment["spec"]["template"]["metadata"]["annotations"]["laneway.dev/credentials-hash"]


def _drop_limits(deployment: Object) -> None:
    deployment["spec"]["template"]["spec"]["securityContext"] = {}


@pytest.mark.parametrize("edit", [_edit_image, _edit_replicas, _edit_command, _drop_hash, _drop_limits])
def test_an_edited_deployment_is_as_before(world: World, queue: str, edit: Callable[[Object], None]) -> None:
    name = f"laneway-{queue}-poller"
    before = world.get("Deployment", name)
    edited = world.get("Deployment", name)
    edit(edited)
    world.client.request("PUT", world.path("Deployment", name), edited)
    after = until("it is as before", lambda: (
        found if (found := world.get("Deployment", name))["spec"] == before["spec"] else None
    ))  # fmt: skip
    assert after["metadata"]["uid"] == before["metadata"]["uid"]


@pytest.mark.parametrize(
    ("kind", "part"),
    [("Deployment", "-gateway"), ("Service", ""), ("PodDisruptionBudget", "-poller"), ("NetworkPolicy", "-gateway")],
)
def test_a_deleted_object_is_made_again(world: World, queue: str, kind: str, part: str) -> None:
    name = f"laneway-{queue}{part}"
    before = world.get(kind, name)["metadata"]["uid"]
    world.delete(kind, name)
    until(f"another {kind}", lambda: (
        (found := world.find(kind, name)) is not None and found["metadata"]["uid"] != before
    ))  # fmt: skip
    until("an event says so", lambda: any(
        reason == "ObjectsApplied" and f"{kind} {name}" in message for _, reason, message in world.events(queue)
    ))  # fmt: skip


def test_an_emptied_redis_is_configured_again(world: World, redis7: RedisServer, limiter: Limiter) -> None:
    redis7.flush()  # keys and scripts
    until("it is configured", lambda: (config := limiter.config()) is not None and config.max_depth == 77)
    until("it has the scripts", limiter.scripts_there)


def test_scripts_that_redis_forgot_are_loaded_again(
    world: World, redis7: RedisServer, limiter: Limiter, queue: str
) -> None:
    assert redis7.command("SCRIPT FLUSH SYNC") == b"+OK"
    until("all scripts are there", limiter.scripts_there)
    assert "had lost" in world.event(queue, "ScriptsLoaded")[2]


def _by_a_program(limiter: Limiter) -> None:
    limiter.edit(whole=True, max_depth=1, paused=True)


def _by_hand(limiter: Limiter) -> None:
    limiter.edit(whole=False, max_depth=2)


_DAMAGES: dict[str, Callable[[Limiter], None]] = {
    "by-program": _by_a_program,
    "by-hand": _by_hand,
    "unreadable": Limiter.break_document,
    "no-document": Limiter.lose_document,
    "no-tenants": Limiter.lose_tenants,
}


def test_whatever_is_done_to_a_configuration_it_is_whole_again(world: World, redis7: RedisServer) -> None:
    limiters = {name: Limiter(redis7.url, world.namespace, f"drift-{name}") for name in _DAMAGES}
    for name in _DAMAGES:
        tenants = {"overrides": [{"name": "acme", "maxRunning": 3}]}
        spec = {"redis": {"url": redis7.url}, "limits": {"maxDepth": 77}, "tenants": tenants}
        world.create("TaskQueue", f"drift-{name}", spec)
    for name in _DAMAGES:
        world.told("TaskQueue", f"drift-{name}", "LimiterReady", "True")
    for name, damage in _DAMAGES.items():
        damage(limiters[name])
    for name, limiter in limiters.items():
        until(f"{name}: it is as asked for", lambda limiter=limiter: (  # type: ignore[misc]
            (config := limiter.config()) is not None and config.max_depth == 77 and not config.paused
            and limiter.parts_agree() and limiter.tenants() == {"acme"}
        ))  # fmt: skip
    assert "edited in Redis" in world.event("drift-by-hand", "LimiterConfigured")[2] or any(
        "edited in Redis" in message for _, _, message in world.events("drift-by-hand")
    )


def test_through_all_of_this_the_queue_stays_ready(world: World, queue: str) -> None:
    world.told("TaskQueue", queue, "LimiterReady", "True")
    world.told("TaskQueue", queue, "TopicsReady", "True")
