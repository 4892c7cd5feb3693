"""Reading manifests: what is refused and with which words, what is read, and that nothing gets lost."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

import docs_manifests
from laneway.adapters.manifests import load_manifests
from laneway.errors import ConfigError
from laneway.model.manifests import KINDS, Manifests

ROOT = Path(__file__).resolve().parents[2]
HEAD = "apiVersion: laneway.dev/v1alpha1\n"


def queue(spec: str = "{}", metadata: str = "{name: q}") -> str:
    return f"{HEAD}kind: TaskQueue\nmetadata: {metadata}\nspec: {spec}\n"


def lane(spec: str, metadata: str = "{name: high}") -> str:
    return f"{HEAD}kind: PriorityLane\nmetadata: {metadata}\nspec: {spec}\n"


def pool(spec: str) -> str:
    return f"{HEAD}kind: WorkerPool\nmetadata: {{name: w}}\nspec: {spec}\n"


def with_queue(*others: str) -> str:
    return "---\n".join([queue(), *others])


IN_Q = "queueRef: {name: q}"
KAFKA = "bootstrapServers: ['k:9092']"

#: What is written, and what is said of it after the name of the file.
BAD = {
    # -- the document
    "a syntax error": (
        queue() + "---\nkind: TaskQueue\nmetadata:\n  name: a: b\n",
        ":8: document 2: YAML syntax, column 10: mapping values are not allowed here; a text with ': ' in it needs"
        " quotes",
    ),
    "a tab": ("kind: TaskQueue\nmetadata:\n\tname: q\n", ":3: document 1: YAML syntax, column 1:"),
    "tabs have a hint": ("metadata:\n\tname: q\n", "indent with spaces, not tabs"),
    "an unclosed bracket": ("metadata: {name: q\n", ":2: document 1: YAML syntax, column 1:"),
    "a key twice": (
        queue("\n  paused: true\n  limits: {}\n  paused: false"),
        ":7: document 1: the key 'paused' is there twice in one map, on lines 5 and 7: keep one of them",
    ),
    "two objects without a separator": (
        queue() + queue(metadata="{name: other}"),
        "the key 'apiVersion' is there twice in one map, on lines 1 and 5: keep one of them, or put '---' between two"
        " objects",
    ),
    "a key that is a number": (
        queue("{1: 2}"),
        ": keys must be text: put 1 into quotes, or name another field",
    ),
    "a merge key": (
        queue("\n  limits: &x {maxDepth: 1}\n  retry: {<<: *x}"),
        ":6: document 1: merge keys (<<) are not read: write the fields out",
    ),
    "an unknown tag": (
        queue("{paused: !ruby/x 1}"),
        ": can't be read: could not determine a constructor for the tag",
    ),
    "a number in base 16": (
        queue("\n  limits:\n    maxDepth: 0x10"),
        ":6: document 1: 0x10 is in another base: write the number in decimal",
    ),
    "a number in base 8": (queue("{limits: {maxDepth: 0755}}"), "0755 is in another base: write the number in decimal"),
    "a very long number in base 2": (
        queue(f"{{limits: {{maxDepth: 0b{'1' * 100_000}}}}}"),
        ":4: document 1: 0b11111111111111111111111111111111111... is in another base",
    ),
    "a very long number in base 16": (queue(f"{{limits: {{maxDepth: 0x{'f' * 100_000}}}}}"), "is in another base"),
    "a number in base 60": (
        queue("\n  limits:\n    maxDepth: 1:30"),
        ":6: document 1 (TaskQueue q): spec.limits.maxDepth: must be a whole number",
    ),
    "a very long number in base 60": (
        queue(f"{{limits: {{maxDepth: 1{':1' * 100_000}}}}}"),
        "spec.limits.maxDepth: must be a whole number",
    ),
    "a very long fraction in base 60": (
        queue(f"{{limits: {{maxDepth: 1{':1' * 100_000}.5}}}}"),
        "spec.limits.maxDepth: must be a whole number",
    ),
    "a whole number of 20 digits": (queue(f"{{limits: {{maxDepth: {10**19}}}}}"), "spec.limits.maxDepth: must be"),
    "a whole number of many digits": (
        queue(f"{{limits: {{maxDepth: {'9' * 100_000}}}}}"),
        "spec.limits.maxDepth: must be",
    ),
    "a fraction of many digits": (queue(f"{{limits: {{maxDepth: 0.{'9' * 100_000}}}}}"), "maxDepth: must be"),
    "a number over every limit": (queue("{limits: {maxDepth: 1.0e+999}}"), "1.0e+999 is no number that a manifest"),
    "a word called a bool": (queue("{paused: !!bool perhaps}"), "can't be read: it is no tag:yaml.org,2002:bool"),
    "an infinite number": (queue("{limits: {maxDepth: .inf}}"), ".inf is no number that a manifest may hold"),
    "a list": (
        "- a\n",
        ":1: document 1: is no object: it must be a map with apiVersion: laneway.dev/v1alpha1, kind,",
    ),
    "nothing but text": (
        "TaskQueue\n",
        "is no object: it must be a map with apiVersion: laneway.dev/v1alpha1",
    ),
    # -- apiVersion and kind
    "no apiVersion": (
        "kind: TaskQueue\n",
        ":1: document 1 (TaskQueue): apiVersion: is missing: laneway.dev/v1alpha1 for TaskQueue, PriorityLane,",
    ),
    "no kind": (HEAD, ":1: document 1: kind: is missing: one of TaskQueue, PriorityLane, WorkerPool"),
    "another version": (
        "apiVersion: laneway.dev/v1\nkind: TaskQueue\nmetadata: {name: q}\n",
        ":1: document 1 (TaskQueue q): apiVersion: must be laneway.dev/v1alpha1, not 'laneway.dev/v1'",
    ),
    "a misspelt group": (
        "apiVersion: lanway.dev/v1alpha1\nkind: TaskQueue\n",
        "apiVersion: must be laneway.dev/v1alpha1, not 'lanway.dev/v1alpha1'",
    ),
    "an apiVersion that is a number": (
        "apiVersion: 1\nkind: TaskQueue\n",
        "must be laneway.dev/v1alpha1, not 1",
    ),
    "a misspelt kind": (
        HEAD + "kind: Taskqueue\n",
        ":2: document 1 (Taskqueue): kind: must be one of TaskQueue, PriorityLane, WorkerPool, not 'Taskqueue';"
        " did you mean TaskQueue?",
    ),
    "a kind that is a list": (
        HEAD + "kind: [TaskQueue]\n",
        "kind: must be one of TaskQueue, PriorityLane, WorkerPool,",
    ),
    # -- metadata
    "no metadata": (
        HEAD + "kind: TaskQueue\n",
        ": metadata: is missing: What Kubernetes knows the object by",
    ),
    "no name": (
        queue(metadata="{}"),
        ":3: document 1 (TaskQueue): metadata.name: is missing: The object's name",
    ),
    "a name in upper case": (
        queue(metadata="{name: My_Queue}"),
        "metadata.name: a name has 1 to 63 of the characters a-z, 0-9 and '-', with a letter or digit at both ends,"
        " not 'My_Queue'; 'my-queue' would do",
    ),
    "a name with a dot": (queue(metadata="{name: a.b}"), "not 'a.b'; 'a-b' would do"),
    "a name of 64 characters": (queue(metadata=f"{{name: {'a' * 64}}}"), f"'{'a' * 63}' would do"),
    "a queue's name of 41 characters": (
        queue(metadata=f"{{name: {'a' * 41}}}"),
        "metadata.name: the name of a queue or pool has at most 40 characters, so that the names of its Deployments and"
        f" Services fit 63; '{'a' * 41}' has 41",
    ),
    "a name that is a number": (
        queue(metadata="{name: 12}"),
        'metadata.name: must be text, not 12; put it into quotes: "12"',
    ),
    "a namespace with a slash": (
        queue(metadata="{name: q, namespace: a/b}"),
        "metadata.namespace: the name of a namespace has 1 to 63 of",
    ),
    "a label's value with a space": (
        queue(metadata="{name: q, labels: {team: 'a b'}}"),
        "metadata.labels: the value of a label has at most 63 of A-Z, a-z, 0-9, '-', '_' and '.'",
    ),
    "a label's value that is a bool": (
        queue(metadata="{name: q, labels: {on-call: yes}}"),
        'metadata.labels.on-call: must be text, not true; put it into quotes: "true"',
    ),
    "a label's key with a bad prefix": (
        queue(metadata="{name: q, labels: {-x-/team: a}}"),
        "the key '-x-/team' has a prefix that is no DNS name of at most 253 characters, such as example.com/",
    ),
    "an annotation's key with a space": (
        queue(metadata="{name: q, annotations: {a b: c}}"),
        "metadata.annotations: the key 'a b' must be a name, or a DNS prefix, '/' and a name, such as example.com/team",
    ),
    "annotations of over 256 KiB": (
        queue(metadata=f"{{name: q, annotations: {{a: {'x' * 262_144}}}}}"),
        "metadata.annotations: annotations have at most 262144 bytes in all, not 262145",
    ),
    "a field of metadata that is not known": (
        queue(metadata="{name: q, lables: {}}"),
        "metadata.lables: there is no such field; did you mean labels? The fields here are: name, namespace, labels,",
    ),
    # -- TaskQueue
    "a field beside spec": (
        queue() + "specs: {}\n",
        ":5: document 1 (TaskQueue q): specs: there is no such field; did you mean spec? The fields here are:"
        " apiVersion, kind, metadata, spec",
    ),
    "a field in snake case": (
        queue("{limits: {max_depth: 1}}"),
        "spec.limits.max_depth: there is no such field; did you mean maxDepth? The fields here are: maxDepth,",
    ),
    "a field that resembles none": (
        queue("{colour: red}"),
        "spec.colour: there is no such field; The fields here are: redis, kafka, source,",
    ),
    "a spec that is a list": (
        queue("[]"),
        ":4: document 1 (TaskQueue q): spec: must be a map of redis, kafka, source,",
    ),
    "an enum in lower case": (
        queue("{source: direct}"),
        "spec.source: must be one of Direct, Kafka, not 'direct'; did you mean Direct?",
    ),
    "an enum that is another word": (
        queue("{durability: Sometimes}"),
        "spec.durability: must be one of Fast, Fsync, Replica, not 'Sometimes'",
    ),
    "source Kafka without kafka": (
        queue("{source: Kafka}"),
        "spec: source Kafka needs spec.kafka with bootstrapServers; or set source: Direct",
    ),
    "durability Replica without a number": (
        queue("{durability: Replica}"),
        "spec: durability Replica needs ackReplicas: how many replicas must have a submission, 1 to 16",
    ),
    "a number of replicas without durability Replica": (
        queue("{durability: Fsync, ackReplicas: 1}"),
        "ackReplicas means nothing with durability Fsync: leave it out, or set durability: Replica",
    ),
    "neither url nor secretRef": (
        queue("{redis: {}}"),
        "spec.redis: must have exactly one of url and secretRef",
    ),
    "both url and secretRef": (
        queue("{redis: {url: 'redis://r', secretRef: {name: s, key: k}}}"),
        "spec.redis: must have exactly one of url and secretRef",
    ),
    "a Redis URL of another scheme": (
        queue("{redis: {url: 'http://r:6379'}}"),
        "spec.redis.url: must be redis://HOST:PORT[/DB], or rediss://HOST:PORT[/DB] for TLS, with no options behind it",
    ),
    "a Redis URL with a bad port": (
        queue("{redis: {url: 'redis://r:99999'}}"),
        "spec.redis.url: must be redis://HOST",
    ),
    "a Redis user without a password": (
        queue("{redis: {url: 'redis://r', username: me}}"),
        "spec.redis: username needs passwordSecretRef: the Secret that holds the user's password",
    ),
    "a Redis user beside a URL in a Secret": (
        queue("{redis: {secretRef: {name: s, key: k}, username: me}}"),
        "spec.redis: username and passwordSecretRef go with url; with secretRef, the URL in the Secret holds user and",
    ),
    "TLS to a Redis without TLS": (
        queue("{redis: {url: 'redis://r', tls: {}}}"),
        "spec.redis: tls needs a URL with TLS: write rediss://HOST:PORT, or leave out tls",
    ),
    "a certificate's Secret that is a map": (
        queue("{redis: {url: 'rediss://r', tls: {clientCertSecret: {name: s}}}}"),
        "spec.redis.tls.clientCertSecret: must be text, not a map",
    ),
    "a SASL mechanism by its name on the wire": (
        queue(
            f"{{kafka: {{{KAFKA}, sasl: {{mechanism: PLAIN, username: u, passwordSecretRef: {{name: s, key: k}}}}}}}}"
        ),
        "spec.kafka.sasl.mechanism: must be one of Plain, ScramSha256, ScramSha512, not 'PLAIN'; did you mean Plain?",
    ),
    "a Kafka password in the clear": (
        queue(
            f"{{kafka: {{{KAFKA}, sasl: {{mechanism: Plain, username: u, passwordSecretRef: {{name: s, key: k}}}}}}}}"
        ),
        "spec.kafka: mechanism Plain sends the password readable for everybody on the way: add tls",
    ),
    "a Redis URL with options": (
        queue("{redis: {url: 'redis://r/0?password=hunter2'}}"),
        "spec.redis.url: must be redis://HOST:PORT[/DB], or rediss://HOST:PORT[/DB] for TLS, with no options behind it",
    ),
    "a Kafka password in the manifest": (
        queue(
            f"{{kafka: {{{KAFKA}, sasl: {{mechanism: Plain, username: u, passwordSecretRef: {{name: s, key: k}},"
            " password: p}}}"
        ),
        "sasl.password: there is no such field; did you mean passwordSecretRef? The fields here are: mechanism,",
    ),
    "asking for more than may be used": (
        queue("{gateway: {resources: {requests: {cpu: 2}, limits: {cpu: 1500m}}}}"),
        "spec.gateway.resources: requests.cpu must be at most limits.cpu (1500m), not 2",
    ),
    "a resource that is a fraction": (
        queue("{gateway: {resources: {limits: {cpu: 0.5}}}}"),
        "spec.gateway.resources.limits.cpu: must be a quantity, such as '500m', '1.5' or '2Gi', not '0.5'; write '0.5'",
    ),
    "a label of the operator's": (
        queue("{poller: {pod: {labels: {laneway.dev/queue: x}}}}"),
        "spec.poller.pod.labels: keys that start with laneway.dev/ or app.kubernetes.io/ are the operator's; name"
        " 'laneway.dev/queue' otherwise",
    ),
    "a toleration of nothing": (
        queue("{gateway: {pod: {tolerations: [{effect: NoSchedule}]}}}"),
        "tolerations[0]: a toleration without a key needs operator: Exists, which is for every taint",
    ),
    "a constraint without a topology": (
        queue("{gateway: {pod: {topologySpreadConstraints: [{maxSkew: 1, whenUnsatisfiable: ScheduleAnyway}]}}}"),
        "topologySpreadConstraints[0].topologyKey: is missing: The nodes' label whose values are the places, such as",
    ),
    "a Secret's key with a space": (
        queue("{redis: {secretRef: {name: s, key: a b}}}"),
        "spec.redis.secretRef.key: a key in a Secret has 1 to 253 of",
    ),
    "no brokers": (
        queue("{kafka: {bootstrapServers: []}}"),
        "kafka.bootstrapServers: must have 1 to 16 entries, not 0",
    ),
    "brokers that are not a list": (
        queue("{kafka: {bootstrapServers: 'k:9092'}}"),
        "spec.kafka.bootstrapServers: must be a list, not 'k:9092'",
    ),
    "a broker without a port": (
        queue("{kafka: {bootstrapServers: [kafka]}}"),
        "spec.kafka.bootstrapServers[0]: must be HOST:PORT, such as kafka:9092, not 'kafka'",
    ),
    "more copies in sync than there are": (
        queue(f"{{kafka: {{{KAFKA}, replicationFactor: 2, minInsyncReplicas: 3}}}}"),
        "spec.kafka: minInsyncReplicas must be from 1 to replicationFactor (2), not 3",
    ),
    "too many partitions": (
        queue(f"{{kafka: {{{KAFKA}, partitions: 1001}}}}"),
        "spec.kafka.partitions: must be from 1 to 1000, not 1001",
    ),
    "a negative number": (queue("{limits: {maxDepth: -1}}"), "maxDepth: must be from 0 to 100000000, not -1"),
    "a number in quotes": (
        queue("{limits: {maxDepth: '10'}}"),
        "maxDepth: must be a whole number from 0 to 100000000, not '10'; leave out the quotes",
    ),
    "a fraction": (
        queue("{limits: {maxDepth: 1.5}}"),
        "maxDepth: must be a whole number from 0 to 100000000, not 1.5",
    ),
    "a bool for a number": (
        queue("{limits: {maxDepth: true}}"),
        "maxDepth: must be a whole number from 0 to",
    ),
    "a word for a bool": (
        queue("{paused: 'yes'}"),
        "paused: must be true or false, not 'yes'; write true, without",
    ),
    "a size with an unknown unit": (
        queue("{limits: {maxPayload: 1MB}}"),
        "spec.limits.maxPayload: must be whole bytes, or a number with k, M, G, Ki, Mi or Gi, such as 65536 or '64Ki',"
        " not '1MB'",
    ),
    "a size out of bounds": (
        queue("{limits: {maxPayload: 1Gi}}"),
        "maxPayload: must be from 1Ki to 16Mi, not '1Gi'",
    ),
    "a size that is a bool": (
        queue("{limits: {maxPayload: true}}"),
        "must be whole bytes or a quantity, such as 65536",
    ),
    "a rate that is a number": (
        queue("{limits: {rate: 100}}"),
        "spec.limits.rate: must be a map of perSecond, burst, not 100",
    ),
    "a rate without perSecond": (
        queue("{limits: {rate: {burst: 1}}}"),
        "rate.perSecond: is missing: Tasks per second",
    ),
    "a burst of an unlimited rate": (
        queue("{limits: {rate: {perSecond: 0, burst: 5}}}"),
        "burst means nothing with perSecond 0 (unlimited): leave it out, or set perSecond",
    ),
    "a burst of 0": (
        queue("{limits: {rate: {perSecond: 1, burst: 0}}}"),
        "burst: must be from 1 to 10000000, not 0",
    ),
    "a tenant's name with a space": (
        queue("{tenants: {overrides: [{name: a b}]}}"),
        "spec.tenants.overrides[0].name: the name of a tenant has 1 to 63 of the characters A-Z, a-z, 0-9, '.', '_'"
        " and '-', not 'a b'; 'a-b' would do",
    ),
    "a tenant twice": (
        queue("{tenants: {overrides: [{name: a}, {name: a}]}}"),
        "spec.tenants.overrides: must name each tenant once; 'a' is there twice",
    ),
    "a map of tenants": (
        queue("{tenants: {overrides: {a: {weight: 2}}}}"),
        "spec.tenants.overrides: must be a list, not a map",
    ),
    "a weight of 0": (
        queue("\n  tenants:\n    overrides:\n      - name: a\n      - name: b\n        weight: 0"),
        ":9: document 1 (TaskQueue q): spec.tenants.overrides[1].weight: must be from 1 to 256, not 0",
    ),
    "a duration in days": (
        queue("{retention: {ended: {age: 7d}}}"),
        "spec.retention.ended.age: must be a duration of whole h, m, s and ms, in that order, such as '30s' or '1h30m',"
        " not '7d'; write '168h'",
    ),
    "a duration with a fraction": (queue("{retry: {backoff: {base: 1.5s}}}"), "not '1.5s'; write '1s500ms'"),
    "a duration without a unit": (queue("{idempotency: {ttl: '60'}}"), "not '60'; 60 seconds are '60s'"),
    "a duration that is a number": (
        queue("{idempotency: {ttl: 60}}"),
        "ttl: must be text, not 60; put it into quotes",
    ),
    "an empty duration": (
        queue("{idempotency: {ttl: ''}}"),
        "ttl: must be a duration of whole h, m, s and ms",
    ),
    "a duration out of bounds": (
        queue("{idempotency: {ttl: 0s}}"),
        "ttl: must be from 1s to 8760h, not '0s'",
    ),
    "a backoff that ends before it begins": (
        queue("{retry: {backoff: {base: 10s, cap: 5s}}}"),
        "spec.retry.backoff: base must be at most cap (5s), not '10s'",
    ),
    "too many attempts": (
        queue("{retry: {maxAttempts: 256}}"),
        "maxAttempts: must be from 1 to 255, not 256",
    ),
    "a default lane that is not there": (
        with_queue(lane(f"{{{IN_Q}}}")).replace("spec: {}", "spec: {defaultLane: hihg}"),
        ":1: document 1 (TaskQueue q): spec.defaultLane: there is no lane 'hihg'; the lanes are: high",
    ),
    # -- PriorityLane
    "a lane without a queue": (
        lane("{priority: 1}"),
        "(PriorityLane high): spec.queueRef: is missing: The queue that",
    ),
    "a queueRef that is a name": (
        with_queue(lane("{queueRef: q}")),
        "(PriorityLane high): spec.queueRef: must be a map of name, not 'q'; write {name: q}",
    ),
    "a queueRef to a queue that is not there": (
        queue(metadata="{name: mail}") + "---\n" + lane("{queueRef: {name: mial}}"),
        ":9: document 2 (PriorityLane high): spec.queueRef.name: there is no TaskQueue 'mial' in namespace default;"
        " did you mean mail? The queues there are: mail",
    ),
    "a queueRef to a queue in another namespace": (
        queue(metadata="{name: q, namespace: prod}") + "---\n" + lane(f"{{{IN_Q}}}"),
        "there is no TaskQueue 'q' in namespace default, but one in namespace prod: a queue and what refers to it"
        " share a namespace",
    ),
    "a queueRef without any queue": (
        lane(f"{{{IN_Q}}}"),
        "no TaskQueue 'q' in namespace default, and no other: give it",
    ),
    "a share over 100": (
        with_queue(lane(f"{{{IN_Q}, minSharePercent: 101}}")),
        "must be from 0 to 100, not 101",
    ),
    "shares that add up to over 100": (
        with_queue(lane(f"{{{IN_Q}, minSharePercent: 70}}"), lane(f"{{{IN_Q}, minSharePercent: 31}}", "{name: low}")),
        "(TaskQueue q): minSharePercent of all lanes together is at most 100, not 101 (high 70, low 31)",
    ),
    "the same name twice": (
        with_queue(lane(f"{{{IN_Q}}}"), lane(f"{{{IN_Q}}}")),
        ":13: document 3 (PriorityLane high): metadata.name: there is already a PriorityLane high in namespace",
    ),
    "the same lane twice": (
        with_queue(lane(f"{{{IN_Q}, laneName: x}}"), lane(f"{{{IN_Q}, laneName: x}}", "{name: low}")),
        "PriorityLanes high and low both name the lane 'x': give one of them another spec.laneName",
    ),
    "65 lanes": (
        with_queue(*[lane(f"{{{IN_Q}}}", f"{{name: l{n}}}") for n in range(65)]),
        "(TaskQueue q): a queue has at most 64 lanes, not 65",
    ),
    "an ordering that is not known": (
        with_queue(lane(f"{{{IN_Q}, ordering: FIFO}}")),
        "spec.ordering: must be one of FairByTenant, Fifo, not 'FIFO'; did you mean Fifo?",
    ),
    # -- WorkerPool
    "an app that is a file": (
        with_queue(pool(f"{{{IN_Q}, app: shop/tasks.py}}")),
        "spec.app: must be package.module:app, at most 253 characters, not 'shop/tasks.py'; a module is named with dots"
        " and without .py",
    ),
    "an app without a colon": (
        with_queue(pool(f"{{{IN_Q}, app: a.b.app}}")),
        "not 'a.b.app'; perhaps a.b:app",
    ),
    "no app": (
        with_queue(pool(f"{{{IN_Q}}}")),
        "(WorkerPool w): spec.app: is missing: The App with the handlers",
    ),
    "no slots": (
        with_queue(pool(f"{{{IN_Q}, app: 'a:b', concurrency: 0}}")),
        "spec.concurrency: must be from 1 to 10000, not 0",
    ),
    "an environment that is a map": (
        with_queue(pool(f"{{{IN_Q}, app: 'a:b', env: {{A: b}}}}")),
        "spec.env: must be a list, not a map",
    ),
    "a variable with a number for a value": (
        with_queue(pool(f"{{{IN_Q}, app: 'a:b', env: [{{name: A, value: 1}}]}}")),
        'spec.env[0].value: must be text, not 1; put it into quotes: "1"',
    ),
    "a variable without a value": (
        with_queue(pool(f"{{{IN_Q}, app: 'a:b', env: [{{name: A}}]}}")),
        "spec.env[0]: must have exactly one of value and secretRef",
    ),
    "a variable's name with a dash": (
        with_queue(pool(f"{{{IN_Q}, app: 'a:b', env: [{{name: A-B, value: ''}}]}}")),
        "spec.env[0].name: the name of an environment variable has letters, digits and '_', with no digit first",
    ),
    "a mount of a volume that is not there": (
        with_queue(pool(f"{{{IN_Q}, app: 'a:b', volumeMounts: [{{name: v, mountPath: /v}}]}}")),
        "spec: each of volumeMounts must name one of volumes; 'v' is not among them: there are none",
    ),
    "a volume twice": (
        with_queue(pool(f"{{{IN_Q}, app: 'a:b', volumes: [{{name: v}}, {{name: v, emptyDir: {{}}}}]}}")),
        "spec.volumes: must name each volume once; 'v' is there twice",
    ),
    "a volume by a name of the operator's": (
        with_queue(pool(f"{{{IN_Q}, app: 'a:b', volumes: [{{name: tmp}}]}}")),
        "spec.volumes[0].name: volumes named tmp, redis-tls, kafka-tls are the operator's; name it otherwise",
    ),
    "a mount over the operator's files": (
        with_queue(
            pool(f"{{{IN_Q}, app: 'a:b', volumes: [{{name: v}}], volumeMounts: [{{name: v, mountPath: /tmp/x}}]}}")
        ),
        "spec.volumeMounts[0].mountPath: must be a path outside /tmp and /etc/laneway, which are the operator's, not"
        " '/tmp/x'",
    ),
    "variables from nowhere": (
        with_queue(pool(f"{{{IN_Q}, app: 'a:b', envFrom: [{{}}]}}")),
        "spec.envFrom[0]: must have exactly one of secretRef and configMapRef",
    ),
    "an image with a space": (
        with_queue(pool(f"{{{IN_Q}, app: 'a:b', image: 'a b'}}")),
        "spec.image: must be an image, such as registry.example.com/team/handlers:1.4",
    ),
    "a smallest size over the largest": (
        with_queue(pool(f"{{{IN_Q}, app: 'a:b', scaling: {{min: 5, max: 2, target: {{drainTime: 30s}}}}}}")),
        "spec.scaling: min must be at most max (2), not 5",
    ),
    "two targets": (
        with_queue(
            pool(f"{{{IN_Q}, app: 'a:b', scaling: {{max: 2, target: {{drainTime: 30s, tasksPerReplica: 1}}}}}}")
        ),
        "spec.scaling.target: must have exactly one of tasksPerReplica and drainTime",
    ),
    "a controller by its short name": (
        with_queue(pool(f"{{{IN_Q}, app: 'a:b', scaling: {{max: 2, target: {{drainTime: 3s}}, controller: HPA}}}}")),
        "spec.scaling.controller: must be one of Operator, HorizontalPodAutoscaler, None, not 'HPA'",
    ),
    "recycling at less memory than a process has": (
        with_queue(pool(f"{{{IN_Q}, app: 'a:b', recycle: {{maxMemory: 1Mi}}}}")),
        "spec.recycle.maxMemory: must be from 16Mi to 1Ti, or 0, not '1Mi'",
    ),
}


def read(tmp_path: Path, text: str, name: str = "m.yaml") -> Manifests:
    (tmp_path / name).write_text(text)
    return load_manifests([tmp_path / name])


def refusal(*paths: Path) -> str:
    with pytest.raises(ConfigError) as refused:
        load_manifests(paths)
    return str(refused.value)


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD.keys())
def test_a_bad_manifest_is_refused_with_words_that_say_what_would_be_right(
    tmp_path: Path, text: str, message: str
) -> None:
    file = tmp_path / "m.yaml"
    file.write_text(text)
    lines = refusal(file).splitlines()
    assert lines[0] == "1 error in the manifests:"
    assert message in lines[1]
    assert lines[1].startswith(f"{file}:")
    assert len(lines[1]) < len(str(file)) + 600, "a message repeats no large input"
    assert len(lines) == 2


def test_a_redis_url_with_a_password_is_refused_and_the_password_is_not_repeated(tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    file.write_text(queue("{redis: {url: 'redis://me:hunter2@r:6379'}}"))
    said = refusal(file)
    assert "spec.redis.url: must hold no password: name its Secret in passwordSecretRef, or put the whole URL" in said
    assert "hunter2" not in said


def test_all_errors_of_all_files_are_told_at_once_in_the_order_of_the_lines(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(queue("\n  sorce: Kafka\n  paused: 1\n  limits: {maxDepth: -1}"))
    (tmp_path / "b.yml").write_text("x: [\n")
    (tmp_path / "c.json").write_text('{"a": 1,\n "a": 2}')
    (tmp_path / "d.yaml").write_text(lane("{queueRef: {name: nowhere}, priority: high}"))
    lines = refusal(tmp_path).splitlines()
    assert lines[0] == "6 errors in the manifests:"
    starts = ["a.yaml:5:", "a.yaml:6:", "a.yaml:7:", "b.yml:2:", "c.json:", "d.yaml:4:"]
    assert [line.startswith(f"{tmp_path}/{start}") for line, start in zip(lines[1:], starts, strict=True)] == [True] * 6


def test_an_error_in_a_queue_does_not_make_its_lanes_look_lost(tmp_path: Path) -> None:
    said = refusal(_write(tmp_path, queue("{paused: 1}") + "---\n" + lane(f"{{{IN_Q}}}")))
    assert said.startswith("1 error")


def test_a_document_with_an_error_does_not_hide_those_after_it(tmp_path: Path) -> None:
    said = refusal(_write(tmp_path, queue("{a: 1, a: 2}") + "---\n" + queue("{paused: 1}", "{name: other}")))
    assert "document 1: the key 'a'" in said
    assert "document 2 (TaskQueue other): spec.paused" in said


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.json", b'{"kind": ', ":1: JSON syntax, column 10: Expecting value"),
        ("m.json", b'{"a": 1, "a": 2}', ": the key 'a' is there twice in one object: keep one of them"),
        ("m.json", b'{"a": NaN}', ": NaN is no number that a manifest may hold"),
        ("m.json", b"[" * 100_000, ": is nested too deeply"),
        ("m.yaml", b"a: " + b"[" * 5_000, "nested"),
        ("m.yaml", b"a: \xff\n", ": is not UTF-8 text (byte 3)"),
        ("m.yaml", b"a: \x07\n", ": has the character 0x0007, which YAML does not allow"),
        ("m.yaml", b"#" * 1_048_577, ": is over 1 MiB (1048577 bytes): split it"),
        ("m.yaml", b"a: &a [*a]\n", ": is nested over 64 levels or unfolds to over 200000 values"),
        ("m.txt", b"", ": a manifest's file ends in .yaml, .yml, .json"),
        ("m.yaml", b"", "there is no TaskQueue in these files: Laneway runs nothing without one"),
        (
            "m.yaml",
            b"apiVersion: v1\nkind: ConfigMap\n",
            "no TaskQueue in these files (1 documents of other APIs",
        ),
    ],
    ids=[
        "broken JSON",
        "a JSON key twice",
        "NaN",
        "deep JSON",
        "deep YAML",
        "not UTF-8",
        "a control character",
        "too large",
        "a list within itself",
        "another suffix",
        "an empty file",
        "only other APIs",
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_the_reason(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    assert message in refusal(tmp_path / name)


def test_aliases_that_unfold_to_millions_of_values_are_refused_quickly(tmp_path: Path) -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9))
    assert "unfolds to over 200000 values" in refusal(_write(tmp_path, bomb))


def test_paths_that_lead_to_no_manifest_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("kind: TaskQueue")
    said = refusal(tmp_path / "empty", tmp_path / "nowhere.yaml")
    assert f"{tmp_path}/empty: the folder has no files that end in .yaml, .yml, .json" in said
    assert f"{tmp_path}/nowhere.yaml: there is no such file or folder" in said
    assert "name at least one file or folder of manifests" in refusal()


# -- what is read


GOOD = {
    "a queue alone": queue(),
    "a queue without a spec": f"{HEAD}kind: TaskQueue\nmetadata: {{name: q}}\n",
    "a queue with all there is": queue(
        f"""
  redis: {{secretRef: {{name: redis.creds, key: URL}}, topology: Cluster}}
  kafka:
    {KAFKA}
    partitions: 48
    replicationFactor: 3
    minInsyncReplicas: 2
    eventRetention: 24h
    deadRetention: 720h
  source: Direct
  durability: Replica
  ackReplicas: 1
  limits: {{maxDepth: 5, maxPayload: 65536, compressOver: 0, rate: {{perSecond: 100, burst: 200}}}}
  tenants:
    defaults: {{weight: 2, maxRunning: 5, rate: {{perSecond: 3}}}}
    overrides: [{{name: ''}}, {{name: Acme_1.x, weight: 256, maxRunning: 0, rate: {{perSecond: 0}}}}]
  retry: {{maxAttempts: 1, maxCrashes: 1, backoff: {{base: 10ms, factor: 1, cap: 10ms, jitterPercent: 0}}}}
  retention: {{ended: {{count: 0, age: 0s}}, dead: {{count: 1, age: 1h1m1s1ms}}, maxBytes: 1Gi}}
  idempotency: {{ttl: 1s}}
  paused: true""",
        "{name: q, namespace: prod, labels: {example.com/team: a, empty: ''}, annotations: {note: 'any: text'}}",
    ),
    "a lane": with_queue(
        lane(
            f"{{{IN_Q}, laneName: x, priority: -5, paused: false, maxRunning: 1, minSharePercent: 100,"
            " submitRate: {perSecond: 1}, dispatchRate: {perSecond: 1, burst: 1}, ordering: Fifo}"
        )
    ),
    "a queue for a cluster": queue(
        f"""
  redis:
    url: rediss://r:6379
    username: me
    passwordSecretRef: {{name: s, key: k}}
    tls: {{caSecretRef: {{name: s, key: ca.crt}}, clientCertSecret: pair}}
  kafka:
    {KAFKA}
    topics: Adopt
    tls: {{}}
    sasl: {{mechanism: ScramSha256, username: me, passwordSecretRef: {{name: s, key: k}}}}
  image: a/b:1
  gateway: {{replicas: 0, serviceType: LoadBalancer, resources: {{requests: {{cpu: 500m}}, limits: {{cpu: 0.5k}}}}}}
  poller: {{replicas: 2, pod: {{nodeSelector: {{a: b}}, affinity: {{podAffinity: {{x: [1.5]}}}}}}}}
  deletionPolicy: Delete
  drainTimeout: 0s"""
    ),
    "a pool with pods": with_queue(
        pool(
            f"{{{IN_Q}, app: 'a:b', imagePullPolicy: Never, envFrom: [{{secretRef: {{name: s}}}}], volumes: [{{name: v,"
            " hostPath: {path: /v, type: ''}}], volumeMounts: [{name: v, mountPath: /v, subPath: x}], resources:"
            " {limits: {example.com/gpu: 1}}, pod: {tolerations: [{operator: Exists}], imagePullSecrets: [{name: a}],"
            " topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule,"
            " labelSelector: {matchLabels: {a: b}}}]}}"
        )
    ),
    "a pool": with_queue(
        pool(
            f"{{{IN_Q}, app: 'a.b_c:d.e', image: 'r.example.com:5000/a/b@sha256:0f', replicas: 0, processes: 2,"
            " concurrency: 1, threads: 1, env: [{name: A, value: ''}, {name: _B, secretRef: {name: s, key: k}}],"
            " drainTimeout: 0s, recycle: {maxTasks: 1, maxMemory: 1Gi}, scaling: {min: 0, max: 5,"
            " target: {tasksPerReplica: 10}, controller: None, stabilization: 0s, shadow: true}}"
        )
    ),
}


@pytest.mark.parametrize("text", GOOD.values(), ids=GOOD.keys())
def test_a_good_manifest_comes_back_as_it_was_written(tmp_path: Path, text: str) -> None:
    (together,) = read(tmp_path, text).queues
    found = [together.queue, *together.lanes, *together.pools]
    for written, manifest in zip(yaml.safe_load_all(text), found, strict=True):
        written["metadata"].setdefault("namespace", "default")
        assert manifest.model_dump(exclude_unset=True) == written
        whole = manifest.model_dump(exclude_none=True)
        assert type(manifest).model_validate(whole).model_dump(exclude_none=True) == whole


def test_json_says_the_same_as_yaml(tmp_path: Path) -> None:
    text = GOOD["a queue with all there is"]
    as_json = read(tmp_path, json.dumps(yaml.safe_load(text)), "m.json")
    assert as_json.queues == read(tmp_path, text).queues


def test_lanes_and_pools_are_found_with_their_queue_across_files_and_namespaces(tmp_path: Path) -> None:
    (tmp_path / "z.yaml").write_text(queue() + "---\n" + queue(metadata="{name: q, namespace: prod}"))
    (tmp_path / "a.yaml").write_text(
        lane(f"{{{IN_Q}}}", "{name: high, namespace: prod}") + "---\n" + pool(f"{{{IN_Q}, app: 'a:b'}}")
    )
    found = {one.namespace: one for one in load_manifests([tmp_path, tmp_path / "a.yaml"]).queues}
    assert [one.metadata.name for one in found["prod"].lanes] == ["high"]
    assert (found["prod"].pools, found["default"].lanes) == ((), ())
    assert [one.metadata.name for one in found["default"].pools] == ["w"]


def test_manifests_without_a_namespace_get_the_one_that_is_asked_for(tmp_path: Path) -> None:
    (together,) = load_manifests([_write(tmp_path, with_queue(lane(f"{{{IN_Q}}}")))], namespace="team").queues
    assert (together.namespace, together.lanes[0].metadata.namespace) == ("team", "team")


def test_documents_of_other_apis_and_empty_ones_are_passed_over_and_noted(tmp_path: Path) -> None:
    others = "---\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n---\n# nothing\n"
    others += "---\napiVersion: temporal.example/v1\nkind: TaskQueue\nmetadata: {name: theirs}\n"
    found = read(tmp_path, queue() + others)
    assert len(found.queues) == 1
    assert found.skipped == (
        f"{tmp_path}/m.yaml: document 3: ConfigMap c (v1)",
        f"{tmp_path}/m.yaml: document 5: TaskQueue theirs (temporal.example/v1)",
    )


def test_what_a_server_adds_to_objects_and_their_lists_is_read_too(tmp_path: Path) -> None:
    exported = """\
apiVersion: v1
kind: List
items:
  - apiVersion: laneway.dev/v1alpha1
    kind: TaskQueue
    metadata: {name: q, uid: 1-2, generation: 3, creationTimestamp: 2026-01-01T00:00:00Z, managedFields: []}
    spec: {paused: null, kafka: null}
    status: {conditions: []}
"""
    (together,) = read(tmp_path, exported).queues
    assert together.queue.model_dump(exclude_unset=True)["metadata"] == {"name": "q", "namespace": "default"}
    said = refusal(_write(tmp_path, exported.replace("paused: null", "paused: 7")))
    assert ":7: document 1 (TaskQueue q): items[0].spec.paused: must be true or false, not 7" in said


@pytest.mark.parametrize("example", ["quickstart", "minimal"])
def test_the_examples_are_read(example: str) -> None:
    (together,) = load_manifests([ROOT / "examples" / example]).queues
    assert together.name == example
    if example == "quickstart":
        assert [one.lane for one in together.lanes] == ["high", "normal", "low"]
        assert [one.spec.app for one in together.pools] == ["quickstart_app:app"]


# -- the models as a source of schemas


def _parts(model: type[BaseModel]) -> dict[str, dict[str, Any]]:
    """Every part of a kind's JSON schema by its place, without metadata, which Kubernetes has rules for."""
    found: dict[str, dict[str, Any]] = {}

    def walk(place: str, schema: Any) -> None:
        if isinstance(schema, dict):
            found[place] = schema
            for key, part in schema.items():
                if key not in ("default", "Metadata", "OwnerMetadata"):
                    walk(f"{place}.{key}", part)
        elif isinstance(schema, list):
            for i, part in enumerate(schema):
                walk(f"{place}[{i}]", part)

    walk("", model.model_json_schema())
    return found


@pytest.mark.parametrize("model", KINDS.values(), ids=KINDS.keys())
def test_every_number_text_and_list_in_a_schema_is_bounded_and_there_are_no_fractions(
    model: type[BaseModel],
) -> None:
    parts = _parts(model)
    bounds = {"integer": {"minimum", "maximum"}, "string": {"maxLength"}, "array": {"maxItems"}}
    checked = set()
    for place, schema in parts.items():
        kind = schema.get("type")
        assert kind != "number", place
        # A size or quantity is a number or a text, bounded beside that choice.
        beside = parts.get(place.rpartition(".anyOf")[0], {})
        if kind in bounds and not schema.keys() & {"enum", "const"} and "x-kubernetes-int-or-string" not in beside:
            assert bounds[kind] <= schema.keys(), place
            checked.add(kind)
    assert checked >= {"integer", "string"}


@pytest.mark.parametrize("model", KINDS.values(), ids=KINDS.keys())
def test_every_field_has_a_description(model: type[BaseModel]) -> None:
    schema = model.model_json_schema()
    for owner in (schema, *schema["$defs"].values()):
        for name, field in owner["properties"].items():
            # Where it would say the same as the model of the field, only that has it.
            said = field.get("description") or schema["$defs"][field["$ref"].split("/")[-1]]["description"]
            assert said.endswith("."), f"{owner['title']}.{name}"


def test_the_reference_page_is_the_one_that_the_models_give() -> None:
    assert docs_manifests.PAGE.read_text() == docs_manifests.page(), "run hack/docs_manifests.py"


def _write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "m.yaml"
    file.write_text(text)
    return file
