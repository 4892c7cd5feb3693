"""The users and rights that docs/how-to/secure-with-tls-and-acls.md gives to people, for tests that run under them."""

from __future__ import annotations

import re
from pathlib import Path

from laneway.model.servers import KafkaServer as KafkaAddress
from laneway.model.servers import RedisServer as RedisAddress
from servers.certificates import Authority
from servers.kafka import KafkaServer
from servers.redis import RedisServer

PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "secure-with-tls-and-acls.md"
_BLOCK = re.compile(r"^```acl\n(.*?)^```$", re.MULTILINE | re.DOTALL)

#: Nothing else may contain these: tests look for them in what processes write and show.
RUNTIME_PASSWORD = "runtime-8c1f7d7e"
OPERATOR_PASSWORD = "operator-55b0a2f4"
KAFKA_PASSWORD = "kafka-runtime-3e9d10"
KAFKA_OPERATOR_PASSWORD = "kafka-operator-77aa02"
KAFKA_USERS = {
    "laneway-runtime": KAFKA_PASSWORD,
    "laneway-operator": KAFKA_OPERATOR_PASSWORD,
    "nobody": "nobody",
}


def lines() -> list[str]:
    """The page's lines of rights."""
    found = [line for block in _BLOCK.findall(PAGE.read_text()) for line in block.splitlines() if line.strip()]
    assert len(found) == 5, f"{PAGE.name} has {len(found)} lines of rights, not 5"
    return found


def redis_user(name: str) -> str:
    """The page's line of one user of Redis, with a password."""
    (line,) = (line for line in lines() if line.startswith(f"user laneway-{name} "))
    return line.replace("RUNTIME_PASSWORD", RUNTIME_PASSWORD).replace("OPERATOR_PASSWORD", OPERATOR_PASSWORD)


def redis_commands(name: str) -> set[str]:
    """The commands that the page allows to a user of Redis."""
    return {word[1:] for word in redis_user(name).split() if word.startswith("+")}


def kafka_acls() -> list[str]:
    """The page's command lines for Kafka."""
    return [line for line in lines() if line.startswith("kafka-acls.sh ")]


def allow(server: RedisServer, line: str) -> None:
    """Applies one line of an ACL file."""
    kind, name, *rules = line.split()
    assert kind == "user"
    answer = server.command(f"ACL SETUSER {name} reset {' '.join(rules)}")
    assert answer == b"+OK", f"{answer!r} to {line}"


def redis_as(name: str, server: RedisServer, authority: Authority, **other: str) -> RedisAddress:
    """The way of a role (runtime or operator) to a Redis with TLS."""
    password = RUNTIME_PASSWORD if name == "runtime" else OPERATOR_PASSWORD
    said = {"username": f"laneway-{name}", "password": password, "ca_file": str(authority.cert), **other}
    return RedisAddress(server.tls_url, **said)  # type: ignore[arg-type]


def kafka_as(
    name: str, server: KafkaServer, authority: Authority, mechanism: str = "SCRAM-SHA-512", **other: str
) -> KafkaAddress:
    """The way of a role (runtime or operator) to a Kafka with TLS and logins."""
    user = f"laneway-{name}"
    said = {"username": user, "password": KAFKA_USERS[user], "ca_file": str(authority.cert), **other}
    return KafkaAddress(server.secure_bootstrap, tls=True, mechanism=mechanism, **said)  # type: ignore[arg-type]
