"""Queues on servers with TLS, logins and ACLs: the operator's own clients and the pods both get what they need."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.operator.limiter import Limiter
from tests.operator.running import World, until
from tests.operator.topics import TestTopics
from tests.secured import KAFKA_OPERATOR_PASSWORD, OPERATOR_PASSWORD, redis_as

from servers.certificates import Authority
from servers.kafka import KafkaServer
from servers.kafka_secure import add_acls
from servers.redis import RedisServer

Object = dict[str, Any]


def _secrets(world: World, authority: Authority, prefix: str) -> None:
    world.secret(f"{prefix}-ca", ca_crt=authority.cert.read_bytes())
    world.secret(f"{prefix}-redis", password=OPERATOR_PASSWORD)
    world.secret(f"{prefix}-kafka", password=KAFKA_OPERATOR_PASSWORD)


def _spec(redis: RedisServer, kafka: KafkaServer, prefix: str, mechanism: str = "ScramSha512") -> Object:
    tls = {"caSecretRef": {"name": f"{prefix}-ca", "key": "ca.crt"}}
    return {
        "redis": {
            "url": redis.tls_url, "username": "laneway-operator", "tls": tls,
            "passwordSecretRef": {"name": f"{prefix}-redis", "key": "password"},
        },
        "kafka": {
            "bootstrapServers": [kafka.secure_bootstrap], "partitions": 2, "tls": tls,
            "sasl": {
                "mechanism": mechanism, "username": "laneway-operator",
                "passwordSecretRef": {"name": f"{prefix}-kafka", "key": "password"},
            },
        },
    }  # fmt: skip


def test_a_queue_over_tls_with_logins_and_acls_is_ready(
    world: World, secure_redis: RedisServer, secure_kafka: KafkaServer, authority: Authority
) -> None:
    _secrets(world, authority, "safe")
    world.create("TaskQueue", "safe", _spec(secure_redis, secure_kafka, "safe"))
    world.told("TaskQueue", "safe", "LimiterReady", "True")
    world.told("TaskQueue", "safe", "TopicsReady", "True")
    world.run_queue("safe")
    assert Limiter(redis_as("operator", secure_redis, authority), world.namespace, "safe").config() is not None
    assert len(TestTopics(secure_kafka.bootstrap).get(f"laneway.{world.namespace}.safe.tasks")) == 1

    # The pods get the same by reference: files from Secrets, passwords by name.
    pod = world.get("Deployment", "laneway-safe-poller")["spec"]["template"]["spec"]
    env = {one["name"]: one.get("value", one.get("valueFrom")) for one in pod["containers"][0]["env"]}
    assert env["LANEWAY_REDIS_URL"] == secure_redis.tls_url
    assert env["LANEWAY_REDIS_CA_FILE"] == "/etc/laneway/tls/redis/ca.crt"
    assert env["LANEWAY_REDIS_PASSWORD"] == {"secretKeyRef": {"name": "safe-redis", "key": "password"}}
    assert env["LANEWAY_KAFKA_TLS"] == "true"
    assert env["LANEWAY_KAFKA_SASL_MECHANISM"] == "SCRAM-SHA-512"
    assert env["LANEWAY_KAFKA_PASSWORD"] == {"secretKeyRef": {"name": "safe-kafka", "key": "password"}}
    mounts = {mount["mountPath"]: mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    for path in ("/etc/laneway/tls/redis", "/etc/laneway/tls/kafka"):
        (source,) = volumes[mounts[path]]["projected"]["sources"]
        assert source["secret"]["name"] == "safe-ca"
    # No password stands anywhere but in its Secret.
    shown = str(pod) + str(world.get("TaskQueue", "safe")) + world.operator.log.read_text()
    assert OPERATOR_PASSWORD not in shown
    assert KAFKA_OPERATOR_PASSWORD not in shown


def test_a_wrong_authority_is_told_for_both_servers(
    world: World, secure_redis: RedisServer, secure_kafka: KafkaServer, authority: Authority, tmp_path: Any
) -> None:
    _secrets(world, Authority(tmp_path, "Somebody else"), "untrusted")
    world.create("TaskQueue", "untrusted", _spec(secure_redis, secure_kafka, "untrusted"))
    redis = world.told("TaskQueue", "untrusted", "LimiterReady", "False", "AccessDenied")
    kafka = world.told("TaskQueue", "untrusted", "TopicsReady", "False", "AccessDenied")
    for told in (redis, kafka):
        assert "certificate that is not accepted" in told["message"]


def test_a_wrong_login_at_kafka_is_told(
    world: World, secure_redis: RedisServer, secure_kafka: KafkaServer, authority: Authority
) -> None:
    _secrets(world, authority, "stranger")
    world.secret("stranger-kafka", password="not-the-password")
    world.create("TaskQueue", "stranger", _spec(secure_redis, secure_kafka, "stranger", "Plain"))
    told = world.told("TaskQueue", "stranger", "TopicsReady", "False", "AccessDenied")
    assert "refuses the user 'laneway-operator'" in told["message"]
    world.told("TaskQueue", "stranger", "LimiterReady", "True")


def test_a_certificate_that_is_none_is_told_with_its_secret(
    world: World, secure_redis: RedisServer, secure_kafka: KafkaServer, authority: Authority
) -> None:
    _secrets(world, authority, "broken")
    world.secret("broken-ca", ca_crt="no certificate")
    world.create("TaskQueue", "broken", _spec(secure_redis, secure_kafka, "broken"))
    told = world.told("TaskQueue", "broken", "LimiterReady", "False", "SecretInvalid")
    assert "broken-ca" in told["message"]


def test_a_queue_whose_topics_the_login_may_not_see_breaks_no_other_of_the_same_login(
    world: World, redis7: RedisServer, secure_kafka: KafkaServer, authority: Authority
) -> None:
    redis7.ensure()
    world.secret("acl-ca", ca_crt=authority.cert.read_bytes())
    world.secret("acl-kafka", password="nobody")
    rights = " ".join(
        f"--operation {what}" for what in ("Create", "Describe", "DescribeConfigs", "Alter", "AlterConfigs", "Delete")
    )
    allowed = f"--add --allow-principal User:nobody {rights} --resource-pattern-type prefixed"
    asyncio.run(add_acls(secure_kafka.bootstrap, f"{allowed} --topic laneway.{world.namespace}.acl-good"))
    spec = _spec(redis7, secure_kafka, "acl")
    kafka = {**spec["kafka"], "sasl": {**spec["kafka"]["sasl"], "username": "nobody"}}
    world.create("TaskQueue", "acl-good", {"redis": {"url": redis7.url}, "kafka": kafka})
    world.told("TaskQueue", "acl-good", "TopicsReady", "True")
    world.create("TaskQueue", "acl-bad", {"redis": {"url": redis7.url}, "kafka": kafka})
    told = world.told("TaskQueue", "acl-bad", "TopicsReady", "False", "AccessDenied")
    assert "'nobody'" in told["message"]
    # What is asked of Kafka from now on is asked of both.
    world.patch("TaskQueue", "acl-good", {"spec": {"kafka": {"partitions": 5}}})
    name = f"laneway.{world.namespace}.acl-good.tasks"
    until("it is still cared for", lambda: TestTopics(secure_kafka.bootstrap).get(name)[name].partitions == 5)
    world.told("TaskQueue", "acl-good", "TopicsReady", "True")
