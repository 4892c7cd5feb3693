"""A TaskQueue that is applied becomes topics, a configured limiter and pods, and its status says so."""

from __future__ import annotations

from typing import Any

import pytest
from tests.operator.limiter import Limiter
from tests.operator.running import World, until
from tests.operator.topics import TestTopics

from laneway.model.servers import RedisServer as Server
from laneway.model.topics import TopicSpec
from servers.kafka import KafkaServer
from servers.redis import RedisServer
from servers.redis_cluster import RedisCluster

Object = dict[str, Any]


@pytest.fixture
def redis(redis7: RedisServer) -> RedisServer:
    """The session's Redis, not emptied: other queues of the same operator are on it."""
    redis7.ensure()
    return redis7


def direct(redis: RedisServer, **spec: Any) -> Object:
    return {"redis": {"url": redis.url}, **spec}


def over_kafka(redis: RedisServer, kafka: KafkaServer, *, of_kafka: Object | None = None, **spec: Any) -> Object:
    return direct(redis, kafka={"bootstrapServers": [kafka.bootstrap], "partitions": 3, **(of_kafka or {})}, **spec)


def test_an_applied_queue_is_ready_with_all_that_it_needs(world: World, redis: RedisServer, kafka: KafkaServer) -> None:
    name, ns = "whole", world.namespace
    world.create("TaskQueue", name, over_kafka(redis, kafka, limits={"maxDepth": 77}))
    world.run_queue(name)

    status = world.get("TaskQueue", name)["status"]
    topics = [f"laneway.{ns}.{name}.{part}" for part in ("tasks", "events", "dead")]
    (cluster,) = {topic["cluster"] for topic in status["topics"]}
    assert status["topics"] == [
        {"name": topic, "cluster": cluster, "partitions": partitions, "owned": True}
        for topic, partitions in zip(topics, (3, 1, 1), strict=True)
    ]
    assert status["endpoint"] == f"http://laneway-{name}.{ns}.svc"
    assert (status["source"], status["observedGeneration"], status["lanes"]) == ("Kafka", 1, 1)
    assert {one["type"] for one in status["conditions"]} == {
        "Ready", "Reconciling", "Stalled", "Paused", "TopicsReady", "LimiterReady", "GatewayAvailable",
        "PollerAvailable",
    }  # fmt: skip

    made = TestTopics(kafka.bootstrap).get(*topics)
    assert {topic: made[topic].partitions for topic in topics} == dict(zip(topics, (3, 1, 1), strict=True))
    assert made[topics[0]].configs["retention.ms"] == "3600000"
    assert int(made[topics[2]].configs["max.message.bytes"]) > 16 * 1024 * 1024
    limiter = Limiter(redis.url, ns, name)
    config = limiter.config()
    assert config is not None
    assert (config.max_depth, config.source, config.version) == (77, "kafka", status["configVersion"])
    assert limiter.scripts_there()
    for kind, part in (("Service", ""), *((kind, part) for kind in ("Deployment", "PodDisruptionBudget",
                       "NetworkPolicy") for part in ("-gateway", "-poller"))):  # fmt: skip
        (owner,) = world.get(kind, f"laneway-{name}{part}")["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["controller"]) == ("TaskQueue", name, True)
    assert {reason for _, reason, _ in world.events(name)} >= {"TopicsMade", "LimiterConfigured"}


def test_limits_change_live_and_no_pod_restarts(world: World, redis: RedisServer) -> None:
    world.create("TaskQueue", "live", direct(redis))
    world.run_queue("live")
    before = world.get("Deployment", "laneway-live-gateway")
    world.patch("TaskQueue", "live", {"spec": {"limits": {"maxDepth": 5}, "retry": {"maxAttempts": 9}}})

    limiter = Limiter(redis.url, world.namespace, "live")

    def changed() -> bool:
        config = limiter.config()
        return config is not None and (config.max_depth, config.max_attempts) == (5, 9)

    until("the new limits are live", changed)
    until("the status is about the new generation",
          lambda: world.get("TaskQueue", "live")["status"]["observedGeneration"] == 2)  # fmt: skip
    after = world.get("Deployment", "laneway-live-gateway")
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


def test_the_depth_is_told_when_a_status_is_written_anyway(world: World, redis: RedisServer) -> None:
    world.create("TaskQueue", "deep", direct(redis))
    world.run_queue("deep")
    limiter = Limiter(redis.url, world.namespace, "deep")
    for _ in range(3):
        limiter.submit()
    world.patch("TaskQueue", "deep", {"spec": {"limits": {"maxDepth": 9}}})
    until("the depth is told", lambda: world.get("TaskQueue", "deep")["status"].get("depth") == 3)


def test_a_paused_queue_starts_nothing_and_says_so(world: World, redis: RedisServer) -> None:
    world.create("TaskQueue", "halt", direct(redis, paused=True))
    world.told("TaskQueue", "halt", "Paused", "True", "Paused")
    world.run_queue("halt")
    limiter = Limiter(redis.url, world.namespace, "halt")
    limiter.submit()
    assert limiter.start() is None
    world.patch("TaskQueue", "halt", {"spec": {"paused": False}})
    world.told("TaskQueue", "halt", "Paused", "False", "NotPaused")
    until("the task may start", limiter.start)


def test_the_reconcile_annotation_stops_all_changes_until_it_goes(world: World, redis: RedisServer) -> None:
    world.create("TaskQueue", "still", direct(redis))
    world.run_queue("still")
    world.patch("TaskQueue", "still", {"metadata": {"annotations": {"laneway.dev/reconcile": "Paused"}}})
    world.told("TaskQueue", "still", "Paused", "True", "Paused")
    world.patch("TaskQueue", "still", {"spec": {"gateway": {"replicas": 4}}})
    world.patch("Deployment", "laneway-still-poller", {"spec": {"replicas": 3}})
    # Another queue shows that passes went on meanwhile.
    world.create("TaskQueue", "still-other", direct(redis))
    world.run_queue("still-other")
    assert world.get("Deployment", "laneway-still-gateway")["spec"]["replicas"] == 1
    assert world.get("Deployment", "laneway-still-poller")["spec"]["replicas"] == 3
    assert world.get("TaskQueue", "still")["status"]["observedGeneration"] == 1
    world.patch("TaskQueue", "still", {"metadata": {"annotations": {"laneway.dev/reconcile": None}}})
    world.told("TaskQueue", "still", "Paused", "False")
    until("both are as asked for", lambda: (
        world.get("Deployment", "laneway-still-gateway")["spec"]["replicas"],
        world.get("Deployment", "laneway-still-poller")["spec"]["replicas"],
    ) == (4, 1))  # fmt: skip


def test_a_queue_without_gateways_is_ready_scaled_to_zero(world: World, redis: RedisServer) -> None:
    world.create("TaskQueue", "closed", direct(redis, gateway={"replicas": 0}))
    world.told("TaskQueue", "closed", "GatewayAvailable", "True", "ScaledToZero")


# ---------------------------------------------------------------------------------------------- topics


def test_a_foreign_topic_is_never_taken_over_silently(world: World, redis: RedisServer, kafka: KafkaServer) -> None:
    topics, name = TestTopics(kafka.bootstrap), f"laneway.{world.namespace}.foreign.events"
    topics.make(TopicSpec(name, 2, 1, {"retention.ms": "12345"}))
    world.create("TaskQueue", "foreign", over_kafka(redis, kafka))
    told = world.told("TaskQueue", "foreign", "TopicsReady", "False", "ForeignTopic")
    assert name in told["message"] and "kafka.topics: Adopt" in told["message"]
    assert world.told("TaskQueue", "foreign", "Ready", "False", "ForeignTopic")["message"] == told["message"]
    world.told("TaskQueue", "foreign", "Stalled", "True", "ForeignTopic")
    found = topics.get(name)[name]
    assert (found.partitions, dict(found.configs)) == (2, {"retention.ms": "12345"})
    # The others are ours, and are made.
    assert len(topics.get(f"laneway.{world.namespace}.foreign.tasks")) == 1

    world.patch("TaskQueue", "foreign", {"spec": {"kafka": {"topics": "Adopt"}}})
    world.told("TaskQueue", "foreign", "TopicsReady", "True")
    listed = {topic["name"]: topic for topic in world.get("TaskQueue", "foreign")["status"]["topics"]}
    assert listed[name] == {"name": name, "cluster": listed[name]["cluster"], "partitions": 2, "owned": True}
    assert topics.get(name)[name].configs["retention.ms"] == str(168 * 3600 * 1000)
    assert world.event("foreign", "TopicsAdopted")[0] == "Normal"


def test_unmanaged_topics_are_checked_and_left_alone(world: World, redis: RedisServer, kafka: KafkaServer) -> None:
    topics, prefix = TestTopics(kafka.bootstrap), f"laneway.{world.namespace}.theirs"
    topics.make(TopicSpec(f"{prefix}.tasks", 1, 1), TopicSpec(f"{prefix}.events", 1, 1))
    world.create("TaskQueue", "theirs", over_kafka(redis, kafka, of_kafka={"topics": "Unmanaged"}))
    told = world.told("TaskQueue", "theirs", "TopicsReady", "False", "TopicsLacking")
    assert f"{prefix}.tasks has 1 partitions and needs 3" in told["message"]
    assert f"{prefix}.dead is missing" in told["message"]
    topics.make(TopicSpec(f"{prefix}.dead", 1, 1))
    world.patch("TaskQueue", "theirs", {"spec": {"kafka": {"partitions": 3}}})
    told = until("the missing one is seen", lambda: (
        one if "dead" not in (one := world.condition("TaskQueue", "theirs", "TopicsReady"))["message"] else None
    ))  # fmt: skip
    assert not any(topic["owned"] for topic in world.get("TaskQueue", "theirs")["status"]["topics"])


def test_what_kafka_refuses_is_told_with_its_reason(world: World, redis: RedisServer, kafka: KafkaServer) -> None:
    world.create("TaskQueue", "copies", over_kafka(redis, kafka, of_kafka={"replicationFactor": 3}))
    told = world.told("TaskQueue", "copies", "TopicsReady", "False", "KafkaRefused")
    assert "replication factor" in told["message"].lower()
    # The limiter does not wait for the topics.
    world.told("TaskQueue", "copies", "LimiterReady", "True")


def test_partitions_grow_with_what_the_pools_may_have(world: World, redis: RedisServer, kafka: KafkaServer) -> None:
    name = f"laneway.{world.namespace}.many.tasks"
    world.create("TaskQueue", "many", over_kafka(redis, kafka))
    world.told("TaskQueue", "many", "TopicsReady", "True")
    scaling = {"min": 0, "max": 4, "target": {"tasksPerReplica": 5}}
    pool = {"queueRef": {"name": "many"}, "app": "a:app", "processes": 2, "scaling": scaling}
    world.create("WorkerPool", "many", pool)
    topics = TestTopics(kafka.bootstrap)
    until("8 partitions", lambda: topics.get(name)[name].partitions == 8)
    until("the status says so and why", lambda: (
        "8 worker processes" in world.condition("TaskQueue", "many", "TopicsReady")["message"]
    ))  # fmt: skip
    assert world.event("many", "TopicGrown")[2] == f"{name} has 8 partitions now"
    world.delete("WorkerPool", "many")
    until("the pool is gone", lambda: world.get("TaskQueue", "many")["status"]["pools"] == 0)
    assert topics.get(name)[name].partitions == 8


# ---------------------------------------------------------------------------------------------- conflicts


def test_a_foreign_deployment_under_an_owned_name_is_left_as_it_is(world: World, redis: RedisServer) -> None:
    labels = {"app": "theirs"}
    theirs = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "laneway-taken-gateway"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "theirs:1"}]}},
        },
    }
    made = world.client.request("POST", world.path("Deployment"), theirs)
    world.create("TaskQueue", "taken", direct(redis))
    told = world.told("TaskQueue", "taken", "GatewayAvailable", "False", "ResourceConflict")
    assert "Deployment" in told["message"] and "laneway-taken-gateway" in told["message"]
    world.told("TaskQueue", "taken", "Ready", "False", "ResourceConflict")
    live = world.get("Deployment", "laneway-taken-gateway")
    assert (live["spec"], live["metadata"].get("ownerReferences")) == (made["spec"], None)
    # All else is made, and once the name is free, this too.
    world.applied("Deployment", "laneway-taken-poller")
    world.delete("Deployment", "laneway-taken-gateway")
    until("ours is made", lambda: (
        (found := world.find("Deployment", "laneway-taken-gateway")) and found["metadata"].get("ownerReferences")
    ))  # fmt: skip


def test_lanes_that_do_not_fit_together_change_nothing(world: World, redis: RedisServer) -> None:
    world.create("TaskQueue", "shares", direct(redis))
    world.create("PriorityLane", "shares-a", {"queueRef": {"name": "shares"}, "minSharePercent": 60})
    world.told("PriorityLane", "shares-a", "Ready", "True")
    version = world.get("TaskQueue", "shares")["status"]["configVersion"]
    world.create("PriorityLane", "shares-b", {"queueRef": {"name": "shares"}, "minSharePercent": 60})
    told = world.told("TaskQueue", "shares", "LimiterReady", "False", "InvalidSpec")
    assert "minSharePercent of all lanes together is at most 100, not 120" in told["message"]
    world.told("PriorityLane", "shares-b", "Ready", "False", "InvalidSpec")
    config = Limiter(redis.url, world.namespace, "shares").config()
    assert config is not None
    assert config.lane("shares-b") is None
    assert config.version >= version
    world.patch("PriorityLane", "shares-b", {"spec": {"minSharePercent": 40}})
    world.told("PriorityLane", "shares-b", "Ready", "True")


def test_a_server_that_can_not_keep_promises_is_refused(world: World, redis: RedisServer) -> None:
    world.create("TaskQueue", "strict", direct(redis, durability="Fsync"))
    told = world.told("TaskQueue", "strict", "LimiterReady", "False", "ServerRefused")
    assert "appendfsync always" in told["message"]
    world.told("TaskQueue", "strict", "Stalled", "True", "ServerRefused")
    assert Limiter(redis.url, world.namespace, "strict").config() is None
    world.patch("TaskQueue", "strict", {"spec": {"durability": "Fast"}})
    world.told("TaskQueue", "strict", "LimiterReady", "True")


def test_a_queue_without_redis_is_told_that_there_is_no_default(world: World) -> None:
    world.create("TaskQueue", "nowhere", {})
    told = world.told("TaskQueue", "nowhere", "Ready", "False", "InvalidSpec")
    assert "add spec.redis" in told["message"]


def test_nothing_is_written_while_nothing_changes(world: World, redis: RedisServer, kafka: KafkaServer) -> None:
    world.create("TaskQueue", "idle", over_kafka(redis, kafka))
    world.run_queue("idle")
    before = world.get("TaskQueue", "idle")["metadata"]["resourceVersion"]
    passes = world.operator.metric("laneway_operator_reconciles_total", kind="TaskQueue", result="done")
    queues = len(world.client.request("GET", world.path("TaskQueue"))["items"])
    until("each queue had a pass again", lambda: (
        world.operator.metric("laneway_operator_reconciles_total", kind="TaskQueue", result="done")
        > passes + queues
    ), timeout=40)  # fmt: skip
    assert world.get("TaskQueue", "idle")["metadata"]["resourceVersion"] == before


def test_a_queue_on_a_redis_cluster_has_its_scripts_on_every_primary(world: World, redis_cluster: RedisCluster) -> None:
    world.create("TaskQueue", "slots", {"redis": {"url": redis_cluster.url, "topology": "Cluster"}})
    world.told("TaskQueue", "slots", "LimiterReady", "True")
    server = Server(redis_cluster.url, cluster=True)
    limiter = Limiter(server, world.namespace, "slots")
    assert limiter.config() is not None
    for node in redis_cluster.nodes:
        assert Limiter(node.url, world.namespace, "slots").scripts_there()
    env = world.applied("Deployment", "laneway-slots-gateway")["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "LANEWAY_CLUSTER", "value": "true"} in env
    redis_cluster.flush()
    until("it is configured again", limiter.config)


def test_a_gateway_that_can_not_start_is_told_with_its_pods_words(world: World, redis: RedisServer) -> None:
    world.create("TaskQueue", "crash", direct(redis))
    world.run_queue("crash")
    world.patch("TaskQueue", "crash", {"spec": {"image": "localhost/nope:3"}})
    world.told("TaskQueue", "crash", "Ready", "False", "Progressing")
    pod = world.create_pod("laneway-crash-gateway", "laneway-crash-gateway-x1")
    ended = {"exitCode": 1, "reason": "Error", "message": "laneway gateway: no such thing"}
    world.pod_says(pod, waiting={"reason": "CrashLoopBackOff"}, ended=ended)
    told = world.told("TaskQueue", "crash", "GatewayAvailable", "False", "Progressing")  # no status of it yet
    newest = world.get("Deployment", "laneway-crash-gateway")["metadata"]["generation"]
    numbers = {"replicas": 2, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1}
    world.patch("Deployment", "laneway-crash-gateway", {"status": {**numbers, "observedGeneration": newest}}, "status")
    told = world.told("TaskQueue", "crash", "GatewayAvailable", "False", "PodsFailing")
    assert f"{pod}: CrashLoopBackOff (exit code 1, Error): laneway gateway: no such thing" in told["message"]
    assert world.event("crash", "PodsFailing")[0] == "Warning"
    world.run_queue("crash")


def test_the_reconcile_annotation_may_be_written_small(world: World, redis: RedisServer) -> None:
    world.create("TaskQueue", "small", direct(redis))
    world.run_queue("small")
    world.patch("TaskQueue", "small", {"metadata": {"annotations": {"laneway.dev/reconcile": "paused"}}})
    world.told("TaskQueue", "small", "Paused", "True", "Paused")
