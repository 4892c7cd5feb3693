"""Manifests with every field there is, to find by small changes where the API server and the models disagree."""

from __future__ import annotations

from typing import Any

from tests.operator.objects import Object, lane, pool, queue

_KEY = {"name": "secret.x", "key": "Key_1"}
_POD: dict[str, Any] = {
    "labels": {"team": "a"},
    "annotations": {"example.com/note": "any: text"},
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [
        {"key": "example.com/gpu", "operator": "Equal", "value": "x", "effect": "NoExecute", "tolerationSeconds": 5},
        {"operator": "Exists"},
    ],
    "affinity": {"nodeAffinity": {}, "podAffinity": {}, "podAntiAffinity": {"x": [{"weight": 1}]}},
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "minDomains": 2}
    ],
    "priorityClassName": "high",
    "serviceAccountName": "runner",
    "imagePullSecrets": [{"name": "registry"}],
    "runtimeClassName": "gvisor",
}
_RESOURCES = {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": 2, "memory": "2Gi", "example.com/gpu": 1}}
_RATE = {"perSecond": 10, "burst": 20}

_AUTH: Object = {
    "mode": "Required",
    "keys": {"secretRef": {"name": "keys", "key": "keys.yaml"}},
    "oidc": [
        {
            "issuer": "https://login.example.org/realms/a",
            "audiences": ["laneway"],
            "algorithms": ["RS256", "EdDSA"],
            "leeway": "10s",
            "nameClaim": "email",
            "caBundle": "-----BEGIN CERTIFICATE-----\nMIIB0000000000000000000000000000\n-----END CERTIFICATE-----\n",
            "grants": [
                {"claim": "groups", "value": "ops", "role": "admin", "tenants": ["acme"], "payloads": False},
                {"role": "viewer", "tenantsClaim": "tenants"},
            ],
        }
    ],
    "tokenReview": {
        "audiences": ["laneway"],
        "cache": "5s",
        "grants": [
            {"user": "system:serviceaccount:a:b", "role": "operator", "tenants": ["acme", ""], "payloads": True},
            {"group": "system:serviceaccounts:a", "role": "submitter"},
        ],
    },
    "failures": {"perMinute": 10, "burst": 5},
    "trustedProxies": ["10.0.0.0/8", "fd00::/8", "192.0.2.1"],
    "audit": {"submissions": False},
}

QUEUE: Object = queue(
    redis={
        "url": "rediss://redis.data.svc:6379/1",
        "topology": "Cluster",
        "username": "laneway",
        "passwordSecretRef": _KEY,
        "tls": {"caSecretRef": _KEY, "clientCertSecret": "redis-client"},
    },
    kafka={
        "bootstrapServers": ["k1:9092", "[fd00::1]:9092"],
        "partitions": 12,
        "replicationFactor": 3,
        "minInsyncReplicas": 2,
        "eventRetention": "24h",
        "deadRetention": "720h",
        "topics": "Adopt",
        "tls": {"caSecretRef": _KEY, "clientCertSecret": "kafka-client"},
        "sasl": {"mechanism": "ScramSha512", "username": "laneway", "passwordSecretRef": _KEY},
    },
    source="Kafka",
    durability="Replica",
    ackReplicas=1,
    defaultLane="normal",
    limits={"maxDepth": 5, "maxPayload": 65536, "compressOver": "4Ki", "rate": _RATE},
    tenants={
        "defaults": {"weight": 2, "maxRunning": 5, "rate": _RATE},
        "overrides": [{"name": "", "weight": 1}, {"name": "Acme_1.x", "maxRunning": 0, "rate": _RATE}],
    },
    retry={
        "maxAttempts": 4,
        "maxCrashes": 3,
        "backoff": {"base": "2s", "factor": 2, "cap": "1h", "jitterPercent": 25},
    },
    retention={"ended": {"count": 1, "age": "1h1m1s1ms"}, "dead": {"count": 1, "age": "0s"}, "maxBytes": "1Gi"},
    idempotency={"ttl": "24h"},
    paused=True,
    image="registry.example.com:5000/laneway/runtime@sha256:0f",
    gateway={
        "replicas": 2,
        "resources": _RESOURCES,
        "serviceType": "NodePort",
        "pod": _POD,
        "auth": _AUTH,
        "env": [{"name": "OTEL_TRACES_SAMPLER", "value": "always_on"}],
    },
    poller={"replicas": 2, "resources": _RESOURCES, "pod": _POD},
    deletionPolicy="Delete",
    drainTimeout="1m",
)

LANE: Object = lane(
    laneName="high",
    priority=5,
    paused=True,
    maxRunning=5,
    minSharePercent=10,
    submitRate=_RATE,
    dispatchRate=_RATE,
    ordering="Fifo",
)

POOL: Object = pool(
    image="a/b:1",
    imagePullPolicy="Always",
    replicas=2,
    processes=2,
    concurrency=4,
    threads=4,
    env=[{"name": "A", "value": "1"}, {"name": "B", "secretRef": _KEY}],
    envFrom=[{"secretRef": {"name": "s"}}, {"configMapRef": {"name": "c"}}],
    volumes=[{"name": "data", "emptyDir": {"sizeLimit": "1Gi"}}],
    volumeMounts=[{"name": "data", "mountPath": "/data", "readOnly": False}],
    resources=_RESOURCES,
    pod=_POD,
    drainTimeout="30s",
    recycle={"maxTasks": 5, "maxMemory": "1Gi"},
    scaling={
        "min": 1,
        "max": 5,
        "target": {"drainTime": "30s"},
        "controller": "HorizontalPodAutoscaler",
        "stabilization": "60s",
        "shadow": True,
    },
)

WHOLE = {"TaskQueue": QUEUE, "PriorityLane": LANE, "WorkerPool": POOL}
