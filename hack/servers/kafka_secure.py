"""What a broker needs for TLS, logins and ACLs, and the ACLs themselves."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Int8, Int16, Int32, Schema, String

from servers.certificates import Pair

_RESOURCES = {"--topic": 2, "--group": 3}
_PATTERNS = {"literal": 3, "prefixed": 4}
_OPERATIONS = {
    "read": 3, "write": 4, "create": 5, "delete": 6, "alter": 7, "describe": 8,
    "describeconfigs": 10, "alterconfigs": 11,
}  # fmt: skip
_ALLOW = 3


@dataclass(frozen=True)
class Secure:
    """The broker's certificate, and the passwords of those who may log in, by user. Each may use PLAIN, SCRAM-SHA-256
    and SCRAM-SHA-512. `client_ca`: clients need a certificate of this authority as well."""

    pair: Pair
    users: Mapping[str, str]
    client_ca: Path | None = None

    def properties(self, folder: Path) -> dict[str, str]:
        """The broker's settings for a listener SECURE. Writes the keystore into `folder`."""
        keystore = folder / "keystore.pem"
        keystore.touch(mode=0o600)
        keystore.write_bytes(self.pair.key.read_bytes() + self.pair.cert.read_bytes())
        plain = " ".join(f'user_{user}="{password}"' for user, password in self.users.items())
        login = "listener.name.secure"
        scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        found = {
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            # (those on the plain listener, which also the broker itself uses)
            "super.users": "User:ANONYMOUS",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(keystore),
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
            f"{login}.plain.sasl.jaas.config": "org.apache.kafka.common.security.plain.PlainLoginModule required "
            f"{plain};",
            f"{login}.scram-sha-256.sasl.jaas.config": scram,
            f"{login}.scram-sha-512.sasl.jaas.config": scram,
        }
        if self.client_ca is not None:
            found |= {
                f"{login}.ssl.client.auth": "required",
                "ssl.truststore.type": "PEM",
                "ssl.truststore.location": str(self.client_ca),
            }
        return found

    def scram(self) -> list[str]:
        """Arguments of the storage tool that make the users of SCRAM."""
        return [
            argument
            for user, password in self.users.items()
            for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
            for argument in ("--add-scram", f"{mechanism}=[name={user},password={password}]")
        ]


async def add_acls(bootstrap: str, line: str) -> None:
    """Does what a command line of `kafka-acls.sh` with --add says. (That program is in none of the broker's jars.)"""
    words = shlex.split(line)
    if "--add" not in words:
        raise ValueError(f"only --add is done here, not: {line}")
    given: dict[str, list[str]] = {}
    at = 0
    while at < len(words):
        if words[at].startswith("--") and words[at] != "--add":
            given.setdefault(words[at], []).append(words[at + 1])
            at += 1
        at += 1
    pattern = _PATTERNS[given.get("--resource-pattern-type", ["literal"])[0]]
    acls = [
        (_RESOURCES[kind], name, pattern, principal, "*", _OPERATIONS[operation.lower()], _ALLOW)
        for kind in _RESOURCES
        for name in given.get(kind, [])
        for principal in given["--allow-principal"]
        for operation in given["--operation"]
    ]
    client = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await client.start()
    try:
        answer = await client._send_to_controller(_CreateAcls(acls))
    finally:
        await client.close()
    for code, message in answer.results:
        if code:
            raise for_code(code)(message)


class _Created(Response):  # type: ignore[misc]  # aiokafka has no types
    API_KEY = 30
    API_VERSION = 1
    SCHEMA = Schema(
        ("throttle_time_ms", Int32), ("results", Array(("error_code", Int16), ("error_message", String("utf-8"))))
    )


class _Create(RequestStruct):  # type: ignore[misc]
    API_KEY = 30
    API_VERSION = 1
    RESPONSE_TYPE = _Created
    SCHEMA = Schema(
        (
            "creations",
            Array(
                ("resource_type", Int8),
                ("resource_name", String("utf-8")),
                ("resource_pattern_type", Int8),
                ("principal", String("utf-8")),
                ("host", String("utf-8")),
                ("operation", Int8),
                ("permission_type", Int8),
            ),
        )
    )


class _CreateAcls(Request[_Create]):  # type: ignore[misc]
    API_KEY = 30

    def __init__(self, acls: Sequence[tuple[Any, ...]]) -> None:
        self._acls = list(acls)

    def build(self, request_struct_class: type[_Create]) -> _Create:
        return request_struct_class(self._acls)
