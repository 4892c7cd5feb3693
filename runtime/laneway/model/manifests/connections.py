"""The servers of a queue: Redis, which holds its state, and Kafka, to which it publishes.

Passwords never stand in a manifest: a Secret of the same namespace holds them.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from laneway.model.manifests.base import Duration, Model, Rule, Text
from laneway.model.manifests.parts import SecretKey, Tls

_HOST = r"(\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9]([-A-Za-z0-9._]{0,251}[A-Za-z0-9])?)"
_PORT = r"([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_SERVER_PATTERN = rf"^{_HOST}:{_PORT}$"
_SERVER = re.compile(_SERVER_PATTERN)
_SERVER_RULE = "must be HOST:PORT, such as kafka:9092"
_USER_AT = r"([^\s/?#@:]+@)?"
_URL_PATTERN = rf"^rediss?://{_USER_AT}{_HOST}(:{_PORT})?(/[0-9]{{0,5}})?$"
_URL = re.compile(_URL_PATTERN, re.ASCII)
_URL_RULE = "must be redis://HOST:PORT[/DB], or rediss://HOST:PORT[/DB] for TLS, with no options behind it"
_WITH_PASSWORD = r"^[a-z]+://[^/?#]*:[^/?#]*@"
_NO_PASSWORD = (
    "must hold no password: name its Secret in passwordSecretRef, or put the whole URL into a Secret and name it in"
    " secretRef"
)


def _redis_url(url: str) -> str:
    if re.match(_WITH_PASSWORD, url):
        raise ValueError(_NO_PASSWORD)
    if len(url) <= 512 and _URL.fullmatch(url):
        return url
    # (What is wrong is not repeated: somebody may have put a password there.)
    raise ValueError(_URL_RULE)


_RedisUrl = Text(
    _redis_url,
    _URL_PATTERN,
    8,
    512,
    # Not said of one with a password, of which the other rule says what is right.
    _URL_RULE,
    (Rule(f"!self.matches(r'{_WITH_PASSWORD}')", _NO_PASSWORD),),
)


_USERNAME_PATTERN = r"^[!-~]+$"
_USERNAME = re.compile(_USERNAME_PATTERN)
_USERNAME_RULE = "the name of a user has 1 to 128 printable ASCII characters and no spaces"


def _username(name: str) -> str:
    if len(name) <= 128 and _USERNAME.fullmatch(name):
        return name
    raise ValueError(_USERNAME_RULE)


_Username = Annotated[str, Text(_username, _USERNAME_PATTERN, 1, 128, _USERNAME_RULE)]


def _server(server: str) -> str:
    if len(server) <= 262 and _SERVER.fullmatch(server):
        return server
    raise ValueError(f"{_SERVER_RULE}, not {server[:80]!r}")


class Redis(Model):
    """Where the queue's state is: exactly one of url and secretRef."""

    RULES = (
        Rule("has(self.url) != has(self.secretRef)", "must have exactly one of url and secretRef"),
        Rule(
            "!has(self.secretRef) || (!has(self.username) && !has(self.passwordSecretRef))",
            "username and passwordSecretRef go with url; with secretRef, the URL in the Secret holds user and password",
        ),
        Rule(
            "!has(self.username) || has(self.passwordSecretRef)",
            "username needs passwordSecretRef: the Secret that holds the user's password",
            at=".passwordSecretRef",
        ),
        Rule(
            "!has(self.username) || !has(self.url) || !self.url.contains('@')",
            "the user must be named once: leave it out of url, or leave out username",
            at=".username",
        ),
        Rule(
            "!has(self.tls) || !has(self.url) || self.url.startsWith('rediss://')",
            "tls needs a URL with TLS: write rediss://HOST:PORT, or leave out tls",
            at=".tls",
        ),
    )

    url: Annotated[str, _RedisUrl] | None = Field(
        default=None,
        description="The server's URL, without a password: redis://HOST:PORT/DB, or rediss:// for TLS.",
    )
    secretRef: SecretKey | None = Field(
        default=None, description="The Secret that holds the whole URL, password included."
    )
    topology: Literal["Standalone", "Cluster"] = Field(
        default="Standalone",
        description="Standalone: one primary, with or without replicas. Cluster: a Redis Cluster.",
    )

    username: _Username | None = Field(
        default=None, description="The ACL user. Absent: the one in the URL, or else Redis's default user."
    )
    passwordSecretRef: SecretKey | None = Field(
        default=None, description="The Secret that holds the user's password, when the URL is in url."
    )
    tls: Tls | None = Field(
        default=None,
        description="Certificates for TLS, which a rediss:// URL asks for. Absent: the image's authorities.",
    )

    @model_validator(mode="after")
    def _fields_agree(self) -> Self:
        if (self.url is None) == (self.secretRef is None):
            raise ValueError("must have exactly one of url and secretRef")
        if self.secretRef is not None and (self.username is not None or self.passwordSecretRef is not None):
            raise ValueError(
                "username and passwordSecretRef go with url; with secretRef, the URL in the Secret holds user"
                " and password"
            )
        if self.username is not None and self.passwordSecretRef is None:
            raise ValueError("username needs passwordSecretRef: the Secret that holds the user's password")
        if self.username is not None and self.url is not None and "@" in self.url:
            raise ValueError("the user must be named once: leave it out of url, or leave out username")
        if self.tls is not None and self.url is not None and not self.url.startswith("rediss://"):
            raise ValueError("tls needs a URL with TLS: write rediss://HOST:PORT, or leave out tls")
        return self


class Sasl(Model):
    """A login at Kafka's brokers by name and password."""

    mechanism: Literal["Plain", "ScramSha256", "ScramSha512"] = Field(
        description="How the password is proved; Plain sends it as it is, so it needs tls."
    )
    username: _Username = Field(description="The user's name.")
    passwordSecretRef: SecretKey = Field(description="The Secret that holds the password.")


_PLAIN_RULE = (
    "mechanism Plain sends the password readable for everybody on the way: add tls ({} trusts the image's authorities),"
    " or use ScramSha512"
)


class Kafka(Model):
    """Where dispatched tasks, events and dead letters are published."""

    RULES = (
        Rule(
            "!has(self.minInsyncReplicas) || !has(self.replicationFactor)"
            " || self.minInsyncReplicas <= self.replicationFactor",
            "minInsyncReplicas must be at most replicationFactor",
            "'minInsyncReplicas must be from 1 to replicationFactor (%d), not"
            " %d'.format([self.replicationFactor, self.minInsyncReplicas])",
            at=".minInsyncReplicas",
        ),
        Rule(
            "(has(self.partitions) ? self.partitions : 12) >= (has(oldSelf.partitions) ? oldSelf.partitions : 12)",
            "partitions can only grow: Kafka can't take partitions away",
            "'partitions can only grow: it must be at least %d, as it was, not"
            " %d'.format([has(oldSelf.partitions) ? oldSelf.partitions : 12,"
            " has(self.partitions) ? self.partitions : 12])",
            at=".partitions",
        ),
        Rule(
            "!has(self.sasl) || self.sasl.mechanism != 'Plain' || has(self.tls)",
            _PLAIN_RULE,
            at=".sasl",
        ),
    )

    bootstrapServers: list[Annotated[str, Text(_server, _SERVER_PATTERN, 3, 262, _SERVER_RULE)]] = Field(
        min_length=1, max_length=16, description="Brokers to ask first, each HOST:PORT."
    )
    partitions: int = Field(
        default=12,
        ge=1,
        le=1_000,
        description="Partitions of the topic of tasks; workers beyond that number share them. It can only grow.",
    )
    replicationFactor: int | None = Field(
        default=None, ge=1, le=16, description="Copies of each partition. Absent: the brokers' default."
    )
    minInsyncReplicas: int | None = Field(
        default=None,
        ge=1,
        le=16,
        description="Copies that must acknowledge a record; at most replicationFactor. Absent: the brokers' default.",
    )
    eventRetention: Annotated[str, Duration("1m", "8760h")] = Field(
        default="168h", description="How long the topic of events keeps them."
    )
    deadRetention: Annotated[str, Duration("1m", "87600h")] = Field(
        default="720h", description="How long the topic of dead letters keeps them."
    )

    topics: Literal["Managed", "Adopt", "Unmanaged"] = Field(
        default="Managed",
        description="Who cares for the queue's topics. Managed: the operator makes, grows and configures them, and"
        " refuses to touch topics of these names that it has not made. Adopt: it takes over those that are there."
        " Unmanaged: somebody else makes them, and the operator only checks them. Only in a cluster.",
    )
    tls: Tls | None = Field(
        default=None, description="TLS to the brokers. Absent: none; {}: with the image's authorities."
    )
    sasl: Sasl | None = Field(default=None, description="Who logs in at the brokers. Absent: nobody does.")

    @model_validator(mode="after")
    def _no_plain_password_in_the_clear(self) -> Self:
        if self.sasl is not None and self.sasl.mechanism == "Plain" and self.tls is None:
            raise ValueError(_PLAIN_RULE)
        return self

    @model_validator(mode="after")
    def _fewer_in_sync_than_copies(self) -> Self:
        if self.replicationFactor and self.minInsyncReplicas and self.minInsyncReplicas > self.replicationFactor:
            raise ValueError(
                f"minInsyncReplicas must be from 1 to replicationFactor ({self.replicationFactor}), not"
                f" {self.minInsyncReplicas}"
            )
        return self
