"""Bad manifests are refused by the API server itself, with words that say what is right; by the models too."""

from __future__ import annotations

from typing import Any

import pytest
from tests.operator.objects import Object, Objects, lane, manifest, models_refuse, pool, queue

SECRET = {"name": "s", "key": "k"}
BROKERS = ["k:9092"]
SASL = {"mechanism": "Plain", "username": "u", "passwordSecretRef": SECRET}


def kafka(**more: Any) -> Object:
    return queue(kafka={"bootstrapServers": BROKERS, **more})


def redis(**more: Any) -> Object:
    return queue(redis=more)


def scaling(**more: Any) -> Object:
    return pool(scaling={"max": 5, "target": {"tasksPerReplica": 10}, **more})


def pod(**more: Any) -> Object:
    return pool(pod=more)


def auth(**more: Any) -> Object:
    return queue(gateway={"auth": more})


def issuer(**more: Any) -> Object:
    return auth(oidc=[{"issuer": "https://i", "audiences": ["a"], "grants": [{"role": "viewer"}], **more}])


#: What is sent, the field that the refusal names, and what it says.
BAD: dict[str, tuple[Object, str, str]] = {
    # -- names
    "a queue's name of 41 characters": (
        queue(name="a" * 41),
        "metadata.name",
        "metadata.name has 1 to 40 of the characters a-z, 0-9 and '-', with a letter or digit at both ends, so that"
        " the names of its Deployments and Services fit 63",
    ),
    "a pool's name of 41 characters": (
        pool(name="a" * 41),
        "metadata.name",
        "metadata.name has 1 to 40 of the characters",
    ),
    "a lane's name of 64 characters": (
        lane(name="a" * 64),
        "metadata.name",
        "metadata.name has 1 to 63 of the characters",
    ),
    "a queue's name with a dot": (
        queue(name="a.b"),
        "metadata.name",
        "metadata.name has 1 to 40 of the characters a-z, 0-9",
    ),
    # -- TaskQueue
    "an unknown field": (queue(paussed=True), "", 'unknown field "spec.paussed"'),
    "a field in snake case": (queue(limits={"max_depth": 1}), "", 'unknown field "spec.limits.max_depth"'),
    "a word for a bool": (queue(paused="yes"), "spec.paused", 'must be of type boolean: "string"'),
    "an enum in lower case": (queue(source="direct"), "spec.source", 'supported values: "Direct", "Kafka"'),
    "an enum that is another word": (
        queue(durability="Sometimes"),
        "spec.durability",
        'supported values: "Fast", "Fsync", "Replica"',
    ),
    "authentication that is off and has keys": (
        auth(mode="None", keys={}),
        "spec.gateway.auth.mode",
        "mode None serves everybody: leave out keys, oidc and tokenReview, or set mode: Required",
    ),
    "token reviews without an account to ask as": (
        auth(tokenReview={"grants": [{"user": "u", "role": "viewer"}]}),
        "spec.gateway.pod",
        "auth.tokenReview needs pod.serviceAccountName",
    ),
    "an issuer over plain HTTP": (
        issuer(issuer="http://login.example.org"),
        "spec.gateway.auth.oidc[0].issuer",
        "must be https://HOST[/PATH] as the tokens' iss says it",
    ),
    "an algorithm with a shared secret": (
        issuer(algorithms=["HS256"]),
        "spec.gateway.auth.oidc[0].algorithms[0]",
        'supported values: "RS256"',
    ),
    "an issuer whose tokens may be for anybody": (
        issuer(audiences=[]),
        "spec.gateway.auth.oidc[0].audiences",
        "should have at least 1 items",
    ),
    "a claim without a value": (
        issuer(grants=[{"claim": "groups", "role": "admin"}]),
        "spec.gateway.auth.oidc[0].grants[0]",
        "claim and value go together; leave out both for every token",
    ),
    "tenants by name and by claim": (
        issuer(grants=[{"role": "admin", "tenants": ["a"], "tenantsClaim": "t"}]),
        "spec.gateway.auth.oidc[0].grants[0].tenantsClaim",
        "must have at most one of tenants and tenantsClaim",
    ),
    "a proxy that is no address": (
        auth(trustedProxies=["10.0.0.0/33"]),
        "spec.gateway.auth.trustedProxies[0]",
        "must be an address or a network such as 10.0.0.0/8",
    ),
    "source Kafka without kafka": (
        queue(source="Kafka"),
        "spec.source",
        "source Kafka needs spec.kafka with bootstrapServers; or set source: Direct",
    ),
    "durability Replica without a number": (
        queue(durability="Replica"),
        "spec.ackReplicas",
        "durability Replica needs ackReplicas: how many replicas must have a submission, 1 to 16",
    ),
    "a number of replicas with durability Fsync": (
        queue(durability="Fsync", ackReplicas=1),
        "spec.ackReplicas",
        "leave it out, or set durability: Replica",
    ),
    "a number of replicas with no durability named": (
        queue(ackReplicas=1),
        "spec.ackReplicas",
        "ackReplicas means nothing without durability Replica",
    ),
    "a default lane that can be none": (
        queue(defaultLane="High"),
        "spec.defaultLane",
        "the name of a lane has 1 to 63 of the characters a-z, 0-9 and '-'",
    ),
    # -- Redis
    "neither url nor secretRef": (redis(), "spec.redis", "must have exactly one of url and secretRef"),
    "both url and secretRef": (
        redis(url="redis://r", secretRef=SECRET),
        "spec.redis",
        "must have exactly one of url and secretRef",
    ),
    "a Redis URL with a password": (
        redis(url="redis://me:hunter2@r:6379"),
        "spec.redis.url",
        "must hold no password: name its Secret in passwordSecretRef",
    ),
    "a Redis URL of another scheme": (
        redis(url="http://r:6379"),
        "spec.redis.url",
        "must be redis://HOST:PORT[/DB], or rediss://HOST:PORT[/DB] for TLS, with no options behind it",
    ),
    "a Redis URL with options": (
        redis(url="redis://r/0?socket_timeout=9999"),
        "spec.redis.url",
        "with no options behind",
    ),
    "a Redis URL with a password in an option": (
        redis(url="redis://r/0?password=hunter2"),
        "spec.redis.url",
        "with no options behind it",
    ),
    "a Redis URL of a socket": (redis(url="unix:///run/r.sock"), "spec.redis.url", "must be redis://HOST:PORT[/DB]"),
    "a Redis URL with a port that is none": (redis(url="redis://r:99999"), "spec.redis.url", "must be redis://HOST"),
    "a Redis user without a password": (
        redis(url="redis://r", username="me"),
        "spec.redis.passwordSecretRef",
        "username needs passwordSecretRef",
    ),
    "a Redis user named twice": (
        redis(url="redis://me@r", username="me", passwordSecretRef=SECRET),
        "spec.redis.username",
        "the user must be named once: leave it out of url, or leave out username",
    ),
    "a Redis user beside a URL in a Secret": (
        redis(secretRef=SECRET, username="me", passwordSecretRef=SECRET),
        "spec.redis",
        "username and passwordSecretRef go with url",
    ),
    "TLS to a Redis without TLS": (
        redis(url="redis://r", tls={}),
        "spec.redis.tls",
        "tls needs a URL with TLS: write rediss://HOST:PORT, or leave out tls",
    ),
    "a Secret without a key": (redis(secretRef={"name": "s"}), "spec.redis.secretRef.key", "Required value"),
    "a Secret's key with a space": (
        redis(secretRef={"name": "s", "key": "a b"}),
        "spec.redis.secretRef.key",
        "a key in a Secret has 1 to 253 of A-Z, a-z, 0-9, '-', '_' and '.'",
    ),
    "a certificate's Secret in upper case": (
        redis(url="rediss://r", tls={"clientCertSecret": "Certs"}),
        "spec.redis.tls.clientCertSecret",
        "the name of a Secret has 1 to 253 of the characters a-z, 0-9, '-' and '.'",
    ),
    # -- Kafka
    "no brokers": (queue(kafka={"bootstrapServers": []}), "spec.kafka.bootstrapServers", "at least 1 items"),
    "a broker without a port": (
        queue(kafka={"bootstrapServers": ["kafka"]}),
        "spec.kafka.bootstrapServers[0]",
        "must be HOST:PORT, such as kafka:9092",
    ),
    "more copies in sync than there are": (
        kafka(replicationFactor=2, minInsyncReplicas=3),
        "spec.kafka.minInsyncReplicas",
        "minInsyncReplicas must be from 1 to replicationFactor (2), not 3",
    ),
    "too many partitions": (kafka(partitions=1001), "spec.kafka.partitions", "less than or equal to 1000"),
    "topics that nobody cares for": (
        kafka(topics="None"),
        "spec.kafka.topics",
        'supported values: "Managed", "Adopt", "Unmanaged"',
    ),
    "a SASL mechanism by its name on the wire": (
        kafka(sasl={**SASL, "mechanism": "SCRAM-SHA-512"}),
        "spec.kafka.sasl.mechanism",
        'supported values: "Plain", "ScramSha256", "ScramSha512"',
    ),
    "a password in the manifest": (
        kafka(sasl={**SASL, "password": "x"}),
        "",
        'unknown field "spec.kafka.sasl.password"',
    ),
    "a SASL login without a password": (
        kafka(sasl={"mechanism": "Plain", "username": "u"}),
        "spec.kafka.sasl.passwordSecretRef",
        "Required value",
    ),
    "a Kafka password in the clear": (
        kafka(sasl={**SASL, "mechanism": "Plain"}),
        "spec.kafka.sasl",
        "mechanism Plain sends the password readable for everybody on the way: add tls",
    ),
    "a SASL user with a space": (
        kafka(sasl={**SASL, "username": "a b"}),
        "spec.kafka.sasl.username",
        "the name of a user has 1 to 128 printable ASCII characters and no spaces",
    ),
    # -- sizes, durations, numbers
    "a size with an unknown unit": (
        queue(limits={"maxPayload": "1MB"}),
        "spec.limits.maxPayload",
        "must be bytes such as 65536 or '64Ki', from 1Ki to 16Mi",
    ),
    "a size out of bounds": (queue(limits={"maxPayload": "1Gi"}), "spec.limits.maxPayload", "from 1Ki to 16Mi"),
    "a size out of bounds as a number": (
        queue(limits={"maxPayload": 12}),
        "spec.limits.maxPayload",
        "from 1Ki to 16Mi",
    ),
    "a size that is a bool": (queue(limits={"maxPayload": True}), "spec.limits.maxPayload", "must be of type"),
    "a duration in days": (
        queue(retention={"ended": {"age": "7d"}}),
        "spec.retention.ended.age",
        "must be a duration such as '30s' or '1h30m', from 1s to 87600h, or 0s",
    ),
    "a duration with a fraction": (
        queue(idempotency={"ttl": "1.5s"}),
        "spec.idempotency.ttl",
        "must be a duration such as '30s'",
    ),
    "a duration out of bounds": (queue(idempotency={"ttl": "0s"}), "spec.idempotency.ttl", "from 1s to 8760h"),
    "a duration beyond all bounds": (
        queue(idempotency={"ttl": "999999999h"}),
        "spec.idempotency.ttl",
        "from 1s to 8760h",
    ),
    "an empty duration": (queue(idempotency={"ttl": ""}), "spec.idempotency.ttl", "must be a duration such as '30s'"),
    "a duration that is a number": (queue(drainTimeout=60), "spec.drainTimeout", 'must be of type string: "integer"'),
    "a backoff that ends before it begins": (
        queue(retry={"backoff": {"base": "10s", "cap": "5s"}}),
        "spec.retry.backoff.base",
        "base must be at most cap (5s), not 10s",
    ),
    "a backoff that begins after the default end": (
        queue(retry={"backoff": {"base": "2h"}}),
        "spec.retry.backoff.base",
        "base must be at most cap (1h), not 2h",
    ),
    "too many attempts": (queue(retry={"maxAttempts": 256}), "spec.retry.maxAttempts", "less than or equal to 255"),
    "a negative number": (queue(limits={"maxDepth": -1}), "spec.limits.maxDepth", "greater than or equal to 0"),
    "a fraction": (queue(limits={"maxDepth": 1.5}), "spec.limits.maxDepth", 'must be of type integer: "number"'),
    "a burst of an unlimited rate": (
        queue(limits={"rate": {"perSecond": 0, "burst": 5}}),
        "spec.limits.rate.burst",
        "burst means nothing with perSecond 0 (unlimited): leave it out, or set perSecond",
    ),
    # -- tenants
    "a tenant twice": (
        queue(tenants={"overrides": [{"name": "a"}, {"name": "a", "weight": 2}]}),
        "spec.tenants.overrides[1]",
        "Duplicate value",
    ),
    "a tenant's name with a space": (
        queue(tenants={"overrides": [{"name": "a b"}]}),
        "spec.tenants.overrides[0].name",
        "the name of a tenant has 1 to 63 of the characters A-Z, a-z, 0-9, '.', '_' and '-'",
    ),
    "a weight of 0": (
        queue(tenants={"overrides": [{"name": "a", "weight": 0}]}),
        "spec.tenants.overrides[0].weight",
        "greater than or equal to 1",
    ),
    # -- gateway and poller
    "a variable of the gateway that is the operator's to set": (
        queue(gateway={"env": [{"name": "LANEWAY_AUTH", "value": "none"}]}),
        "spec.gateway.env[0].name",
        "variables named LANEWAY_... are the operator's to set",
    ),
    "a variable of the gateway twice": (
        queue(gateway={"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}),
        "spec.gateway.env[1]",
        "Duplicate value",
    ),
    "too many gateways": (queue(gateway={"replicas": 101}), "spec.gateway.replicas", "less than or equal to 100"),
    "a headless gateway": (
        queue(gateway={"serviceType": "None"}),
        "spec.gateway.serviceType",
        'supported values: "ClusterIP", "NodePort", "LoadBalancer"',
    ),
    "asking for more than may be used": (
        queue(poller={"resources": {"requests": {"memory": "1Gi"}, "limits": {"memory": "1G"}}}),
        "spec.poller.resources.requests",
        "requests.memory must be at most limits.memory",
    ),
    "a resource that is no quantity": (
        queue(gateway={"resources": {"limits": {"memory": "512 MB"}}}),
        "spec.gateway.resources.limits.memory",
        "in body should match",
    ),
    "deleting or keeping in another word": (
        queue(deletionPolicy="Keep"),
        "spec.deletionPolicy",
        'supported values: "Retain", "Delete"',
    ),
    # -- PriorityLane
    "a lane without a queue": (manifest("PriorityLane", {"priority": 1}), "spec.queueRef", "Required value"),
    "a lane without a spec": (manifest("PriorityLane"), "spec", "Required value"),
    "a queueRef that is a name": (lane(queueRef="q"), "spec.queueRef", 'must be of type object: "string"'),
    "a queueRef to a name that no queue has": (
        lane(queueRef={"name": "My_Queue"}),
        "spec.queueRef.name",
        "the name of a queue or pool has 1 to 40 of the characters a-z, 0-9 and '-'",
    ),
    "a share over 100": (lane(minSharePercent=101), "spec.minSharePercent", "less than or equal to 100"),
    "an ordering that is not known": (
        lane(ordering="FIFO"),
        "spec.ordering",
        'supported values: "FairByTenant", "Fifo"',
    ),
    # -- WorkerPool
    "no app": (manifest("WorkerPool", {"queueRef": {"name": "q"}}), "spec.app", "Required value"),
    "an app that is a file": (pool(app="shop/tasks.py"), "spec.app", "must be package.module:app"),
    "an image with a space": (
        pool(image="a b"),
        "spec.image",
        "must be an image, such as registry.example.com/team/handlers:1.4",
    ),
    "no slots": (pool(concurrency=0), "spec.concurrency", "greater than or equal to 1"),
    "a variable without a value": (
        pool(env=[{"name": "A"}]),
        "spec.env[0]",
        "must have exactly one of value and secretRef",
    ),
    "a variable with two values": (
        pool(env=[{"name": "A", "value": "", "secretRef": SECRET}]),
        "spec.env[0]",
        "must have exactly one of value and secretRef",
    ),
    "a variable twice": (
        pool(env=[{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]),
        "spec.env[1]",
        "Duplicate value",
    ),
    "a variable's name with a dash": (
        pool(env=[{"name": "A-B", "value": ""}]),
        "spec.env[0].name",
        "the name of an environment variable has letters, digits and '_', with no digit first",
    ),
    "variables from nowhere": (
        pool(envFrom=[{}]),
        "spec.envFrom[0]",
        "must have exactly one of secretRef and configMapRef",
    ),
    "a mount of a volume that is not there": (
        pool(volumes=[{"name": "a", "emptyDir": {}}], volumeMounts=[{"name": "b", "mountPath": "/b"}]),
        "spec.volumeMounts",
        "each of volumeMounts must name one of volumes",
    ),
    "a mount at a relative path": (
        pool(volumes=[{"name": "a"}], volumeMounts=[{"name": "a", "mountPath": "data"}]),
        "spec.volumeMounts[0].mountPath",
        "must be an absolute path without ':', such as /data",
    ),
    "a mount over the operator's files": (
        pool(volumes=[{"name": "a"}], volumeMounts=[{"name": "a", "mountPath": "/etc/laneway/tls"}]),
        "spec.volumeMounts[0].mountPath",
        "must be a path outside /tmp and /etc/laneway, which are the operator's",
    ),
    "a volume by a name of the operator's": (
        pool(volumes=[{"name": "tmp", "emptyDir": {}}]),
        "spec.volumes[0].name",
        "volumes named tmp, redis-tls, kafka-tls are the operator's",
    ),
    "recycling at less memory than a process has": (
        pool(recycle={"maxMemory": "1Mi"}),
        "spec.recycle.maxMemory",
        "from 16Mi to 1Ti, or 0",
    ),
    "a smallest size over the largest": (scaling(min=6), "spec.scaling.min", "min must be at most max (5), not 6"),
    "no largest size": (
        pool(scaling={"target": {"tasksPerReplica": 1}}),
        "spec.scaling.max",
        "Required value",
    ),
    "two targets": (
        scaling(target={"tasksPerReplica": 1, "drainTime": "30s"}),
        "spec.scaling.target",
        "must have exactly one of tasksPerReplica and drainTime",
    ),
    "no target": (
        scaling(target={}),
        "spec.scaling.target",
        "must have exactly one of tasksPerReplica and drainTime",
    ),
    "a controller by its short name": (
        scaling(controller="HPA"),
        "spec.scaling.controller",
        'supported values: "Operator", "HorizontalPodAutoscaler", "None"',
    ),
    "a stabilization of days": (scaling(stabilization="25h"), "spec.scaling.stabilization", "from 1s to 1h, or 0s"),
    # -- pods
    "a label of the operator's": (
        pod(labels={"app.kubernetes.io/name": "x"}),
        "spec.pod.labels",
        "keys that start with laneway.dev/ or app.kubernetes.io/ are the operator's",
    ),
    "an annotation of the operator's": (
        pod(annotations={"laneway.dev/x": "y"}),
        "spec.pod.annotations",
        "keys that start with laneway.dev/ or app.kubernetes.io/ are the operator's",
    ),
    "a label's value with a space": (
        pod(labels={"team": "a b"}),
        "spec.pod.labels[team]",
        "the value of a label has at most 63 of A-Z, a-z, 0-9, '-', '_' and '.'",
    ),
    "a toleration of nothing": (
        pod(tolerations=[{"value": "x"}]),
        "spec.pod.tolerations[0].operator",
        "a toleration without a key needs operator: Exists, which is for every taint",
    ),
    "a toleration with a value that means nothing": (
        pod(tolerations=[{"key": "a", "operator": "Exists", "value": "x"}]),
        "spec.pod.tolerations[0].value",
        "leave it out, or set operator: Equal",
    ),
    "a toleration for some time of a taint that does not evict": (
        pod(tolerations=[{"key": "a", "tolerationSeconds": 5}]),
        "spec.pod.tolerations[0].effect",
        "tolerationSeconds needs effect: NoExecute",
    ),
    "an affinity of no kind": (
        pod(affinity={"queueAffinity": {}}),
        "",
        'unknown field "spec.pod.affinity.queueAffinity"',
    ),
    "a pull secret twice": (
        pod(imagePullSecrets=[{"name": "a"}, {"name": "a"}]),
        "spec.pod.imagePullSecrets[1]",
        "Duplicate value",
    ),
}

#: What is there, what shall replace it, the field that the refusal names, and what it says.
BAD_CHANGES: dict[str, tuple[Object, Object, str, str]] = {
    "fewer partitions": (
        kafka(partitions=24),
        kafka(partitions=23),
        "spec.kafka.partitions",
        "partitions can only grow: it must be at least 24, as it was, not 23",
    ),
    "no partitions named, which are 12, where there were more": (
        kafka(partitions=24),
        kafka(),
        "spec.kafka.partitions",
        "partitions can only grow: it must be at least 24, as it was, not 12",
    ),
    "fewer partitions than the default": (
        kafka(),
        kafka(partitions=11),
        "spec.kafka.partitions",
        "partitions can only grow: it must be at least 12, as it was, not 11",
    ),
    "a lane of another queue": (
        lane(),
        lane(queueRef={"name": "other"}),
        "spec.queueRef.name",
        "queueRef can't be changed: delete the object, and make one that refers to the other queue",
    ),
    "a pool of another queue": (
        pool(),
        pool(queueRef={"name": "other"}),
        "spec.queueRef.name",
        "queueRef can't be changed",
    ),
    "another name of a lane": (
        lane(laneName="high"),
        lane(laneName="low"),
        "spec.laneName",
        "laneName can't be changed: it stays high; make another PriorityLane for another name",
    ),
    "a name for a lane that had that of its object": (
        lane(),
        lane(laneName="low"),
        "spec.laneName",
        "laneName can't be changed: it stays a",
    ),
    "no name for a lane that had one": (lane(laneName="high"), lane(), "spec.laneName", "it stays high"),
    "a rule that held when it was made": (
        queue(durability="Replica", ackReplicas=1),
        queue(ackReplicas=1),
        "spec.ackReplicas",
        "leave it out, or set durability: Replica",
    ),
    "a pool's largest size below its smallest": (
        scaling(min=4),
        scaling(min=4, max=3),
        "spec.scaling.min",
        "at most max (3)",
    ),
}

GOOD_CHANGES: dict[str, tuple[Object, Object]] = {
    "more partitions": (kafka(partitions=24), kafka(partitions=48)),
    "the default number of partitions by its number": (kafka(), kafka(partitions=12)),
    "no Kafka any more": (kafka(partitions=24), queue()),
    "Kafka, which was not there": (queue(), kafka(partitions=1)),
    "a lane's name as it was, now in full": (lane(), lane(laneName="a")),
    "other limits of a lane": (lane(priority=1), lane(priority=2, maxRunning=5, paused=True)),
    "another image": (pool(image="a:1"), pool(image="a:2")),
    "scaling, which was not there": (pool(replicas=3), scaling(min=1)),
}


@pytest.mark.parametrize(("document", "field", "message"), BAD.values(), ids=BAD.keys())
def test_a_bad_manifest_is_refused_by_the_api_server_with_words_that_say_what_is_right(
    objects: Objects, document: Object, field: str, message: str
) -> None:
    said = objects.refused(document)
    assert said is not None, "the API server takes it"
    assert field in said
    assert message in said


@pytest.mark.parametrize("document", [bad[0] for bad in BAD.values()], ids=BAD.keys())
def test_what_the_api_server_refuses_the_models_refuse_too(document: Object) -> None:
    assert models_refuse(document) is not None


@pytest.mark.parametrize(("before", "after", "field", "message"), BAD_CHANGES.values(), ids=BAD_CHANGES.keys())
def test_a_bad_change_is_refused_by_the_api_server_with_words_that_say_what_is_right(
    objects: Objects, before: Object, after: Object, field: str, message: str
) -> None:
    objects.create(before)
    said = objects.update_refused(after)
    assert said is not None, "the API server takes it"
    assert field in said
    assert message in said


@pytest.mark.parametrize(("before", "after"), GOOD_CHANGES.values(), ids=GOOD_CHANGES.keys())
def test_other_changes_are_taken(objects: Objects, before: Object, after: Object) -> None:
    objects.create(before)
    assert objects.update_refused(after) is None


def test_a_refusal_does_not_repeat_a_password(objects: Objects) -> None:
    said = objects.refused(BAD["a Redis URL with a password"][0])
    assert said is not None
    assert "hunter2" not in said
