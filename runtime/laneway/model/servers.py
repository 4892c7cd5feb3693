"""Where Redis and Kafka are, and how to speak to them: TLS and credentials included.

Every process takes these from its environment, never from its command line, which others on the machine can read. Their
``repr`` has no password.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal, Self
from urllib.parse import unquote, urlsplit

from laneway.errors import ConfigError

DEFAULT_REDIS: Final = "redis://127.0.0.1:6379/0"
MECHANISMS: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")

_WITHIN_URL: Final = "write / as %2F, : as %3A, @ as %40, ? as %3F and # as %23"

_YES = frozenset({"1", "true", "yes", "on"})
_NO = frozenset({"", "0", "false", "no", "off"})


def redis_url_lacks(url: str) -> str:
    """What a URL of Redis would have to be, where it is not so; "" for one that is right.

    It never repeats any of the URL, in whose every part a password may stand that somebody has not escaped. Options are
    not for URLs: a driver would let them win over Laneway's own, such as the time that an answer is waited for.
    """
    must = f"must be a URL such as {DEFAULT_REDIS} (or rediss://, unix://)"
    if url != url.strip() or not url.isprintable():
        return f"{must}: it has line breaks, or begins or ends with spaces"
    try:
        parts = urlsplit(url)
    except ValueError:
        return f"can't be read: it {must}"
    if parts.scheme not in ("redis", "rediss", "unix"):
        return must
    if "?" in url or "#" in url:
        return (
            f"{must}: it has ? or #, and there can be no options in it; in a user's name or password {_WITHIN_URL}, "
            "and name certificates, user and password by their own variables or fields"
        )
    if parts.scheme == "unix":
        return (
            "" if parts.path.strip("/") else f"{must}: it must name the socket's path, such as unix:///run/redis.sock"
        )
    try:
        right = bool(parts.hostname) and parts.port != 0
    except ValueError:
        right = False
    if not right:
        return f"{must}: it must name a host, and a port from 1 to 65535; in a user's name or password {_WITHIN_URL}"
    database = parts.path.removeprefix("/")
    if database and not (database.isascii() and database.isdecimal() and len(database) <= 5):
        return (
            f"{must}: behind host and port it may have the number of a database alone; in a user's name or password"
            f" {_WITHIN_URL}"
        )
    return ""


@dataclass(frozen=True, slots=True, repr=False)
class RedisServer:
    """A Redis. ``url`` may hold a user and password; where it doesn't, ``username`` and ``password`` are used.

    ``ca_file`` is the authority that the server's certificate is checked against (empty: those that this machine
    trusts); ``cert_file`` and ``key_file`` are what the client shows of itself. All are paths of PEM files.

    Raises:
        ConfigError: the parts contradict each other; says which environment variable to change and how.
    """

    url: str = DEFAULT_REDIS
    username: str = ""
    password: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    cluster: bool = False

    def __post_init__(self) -> None:
        if lacks := redis_url_lacks(self.url):
            raise ConfigError(f"LANEWAY_REDIS_URL {lacks}")
        parts = urlsplit(self.url)
        for name, own, in_url in (
            ("USERNAME", self.username, unquote(parts.username or "")),
            ("PASSWORD", self.password, unquote(parts.password or "")),
        ):
            if own and in_url and own != in_url:
                raise ConfigError(
                    f"LANEWAY_REDIS_{name} is set, and the URL of Redis ({self.address}) holds another "
                    f"{name.lower()}: leave one of them out"
                )
        _check_pair(self.cert_file, self.key_file, "LANEWAY_REDIS")
        if not self.tls:
            _refuse_files(
                self, "LANEWAY_REDIS", f"the URL of Redis ({self.address}) is one without TLS: make it rediss://"
            )

    @classmethod
    def from_env(
        cls, environ: Mapping[str, str], *, url: str | None = None, cluster: bool | None = None
    ) -> Self:  # fmt: skip
        """What LANEWAY_REDIS_* and LANEWAY_CLUSTER say. ``url`` and ``cluster``, where given, win over them.

        Raises:
            ConfigError: a variable is wrong; says which, and what would be right.
        """
        return cls(
            url=url or environ.get("LANEWAY_REDIS_URL") or DEFAULT_REDIS,
            cluster=_flag(environ, "LANEWAY_CLUSTER") if cluster is None else cluster,
            **_texts(environ, "LANEWAY_REDIS", ("username", "password", "ca_file", "cert_file", "key_file")),
        )

    @classmethod
    def of(cls, server: RedisServer | str, *, cluster: bool = False) -> RedisServer:
        """The server that a plain URL means; a RedisServer is taken as it is."""
        if isinstance(server, RedisServer):
            return replace(server, cluster=True) if cluster and not server.cluster else server
        return cls(server, cluster=cluster)

    def to_env(self) -> dict[str, str]:
        """The environment from which :meth:`from_env` makes the same server, for a child process. Empty values stand
        for what is not set, so that nothing of this process's own environment gets in between."""
        return {
            "LANEWAY_REDIS_URL": self.url,
            "LANEWAY_REDIS_USERNAME": self.username,
            "LANEWAY_REDIS_PASSWORD": self.password,
            "LANEWAY_REDIS_CA_FILE": self.ca_file,
            "LANEWAY_REDIS_CERT_FILE": self.cert_file,
            "LANEWAY_REDIS_KEY_FILE": self.key_file,
            "LANEWAY_CLUSTER": "true" if self.cluster else "false",
        }

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted."""
        return urlsplit(self.url).scheme == "rediss"

    @property
    def address(self) -> str:
        """The URL without credentials, for messages."""
        parts = urlsplit(self.url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()

    @property
    def user(self) -> str:
        """The user that it logs in as; ``default`` when none is named."""
        return unquote(urlsplit(self.url).username or "") or self.username or "default"

    def __repr__(self) -> str:
        return f"RedisServer({self.address!r}, user={self.user!r}, tls={self.tls}, cluster={self.cluster})"


@dataclass(frozen=True, slots=True, repr=False)
class KafkaServer:
    """A Kafka cluster. ``bootstrap`` is HOST:PORT, or several with commas between.

    The files are as in :class:`RedisServer`, and need ``tls``. ``mechanism`` (one of :data:`MECHANISMS`) is how
    ``username`` and ``password`` are shown to the brokers; empty for none.

    Raises:
        ConfigError: the parts contradict each other; says which environment variable to change and how.
    """

    bootstrap: str
    tls: bool = False
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    mechanism: str = ""
    username: str = ""
    password: str = ""

    def __post_init__(self) -> None:
        _check_pair(self.cert_file, self.key_file, "LANEWAY_KAFKA")
        if not self.tls:
            _refuse_files(self, "LANEWAY_KAFKA", "TLS to Kafka is off: set LANEWAY_KAFKA_TLS=true")
        if not self.mechanism:
            for name, value in (("USERNAME", self.username), ("PASSWORD", self.password)):
                if value:
                    raise ConfigError(
                        f"LANEWAY_KAFKA_{name} is set, and LANEWAY_KAFKA_SASL_MECHANISM is not: set it to one of "
                        f"{', '.join(MECHANISMS)}"
                    )
            return
        if self.mechanism not in MECHANISMS:
            raise ConfigError(
                f"LANEWAY_KAFKA_SASL_MECHANISM must be one of {', '.join(MECHANISMS)}, not {self.mechanism[:40]!r}"
            )
        for name, value in (("USERNAME", self.username), ("PASSWORD", self.password)):
            if not value:
                raise ConfigError(
                    f"LANEWAY_KAFKA_SASL_MECHANISM is {self.mechanism}, and LANEWAY_KAFKA_{name} is not set: set it"
                )
        if self.mechanism == "PLAIN" and not self.tls:
            raise ConfigError(
                "LANEWAY_KAFKA_SASL_MECHANISM PLAIN would send the password readable for everybody on the way: set "
                "LANEWAY_KAFKA_TLS=true, or use SCRAM-SHA-512"
            )

    @classmethod
    def from_env(cls, environ: Mapping[str, str], *, bootstrap: str | None = None) -> Self | None:
        """What LANEWAY_KAFKA and LANEWAY_KAFKA_* say, or None where neither ``bootstrap`` (which wins) nor
        LANEWAY_KAFKA names a broker.

        Raises:
            ConfigError: a variable is wrong; says which, and what would be right.
        """
        servers = bootstrap or environ.get("LANEWAY_KAFKA", "")
        if not servers:
            return None
        return cls(
            servers,
            tls=_flag(environ, "LANEWAY_KAFKA_TLS"),
            mechanism=environ.get("LANEWAY_KAFKA_SASL_MECHANISM", ""),
            **_texts(environ, "LANEWAY_KAFKA", ("username", "password", "ca_file", "cert_file", "key_file")),
        )

    @classmethod
    def of(cls, server: KafkaServer | str) -> KafkaServer:
        """The cluster that a plain HOST:PORT means; a KafkaServer is taken as it is."""
        return server if isinstance(server, KafkaServer) else cls(server)

    def to_env(self) -> dict[str, str]:
        """The environment from which :meth:`from_env` makes the same, for a child process; see
        :meth:`RedisServer.to_env`."""
        return {
            "LANEWAY_KAFKA": self.bootstrap,
            "LANEWAY_KAFKA_TLS": "true" if self.tls else "false",
            "LANEWAY_KAFKA_CA_FILE": self.ca_file,
            "LANEWAY_KAFKA_CERT_FILE": self.cert_file,
            "LANEWAY_KAFKA_KEY_FILE": self.key_file,
            "LANEWAY_KAFKA_SASL_MECHANISM": self.mechanism,
            "LANEWAY_KAFKA_USERNAME": self.username,
            "LANEWAY_KAFKA_PASSWORD": self.password,
        }

    @property
    def protocol(self) -> Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]:
        """The security protocol by Kafka's name."""
        if self.mechanism:
            return "SASL_SSL" if self.tls else "SASL_PLAINTEXT"
        return "SSL" if self.tls else "PLAINTEXT"

    def __repr__(self) -> str:
        return f"KafkaServer({self.bootstrap!r}, {self.protocol}, user={self.username!r})"


def _texts(environ: Mapping[str, str], prefix: str, names: tuple[str, ...]) -> dict[str, str]:
    return {name: environ.get(f"{prefix}_{name.upper()}", "") for name in names}


def _flag(environ: Mapping[str, str], name: str) -> bool:
    said = environ.get(name, "").strip().lower()
    if said not in _YES | _NO:
        raise ConfigError(f"{name} must be true or false, not {said[:40]!r}")
    return said in _YES


def _check_pair(cert_file: str, key_file: str, prefix: str) -> None:
    if bool(cert_file) != bool(key_file):
        have, lacks = ("CERT", "KEY") if cert_file else ("KEY", "CERT")
        raise ConfigError(
            f"{prefix}_{have}_FILE is set, and {prefix}_{lacks}_FILE is not: a client certificate needs both"
        )


def _refuse_files(server: RedisServer | KafkaServer, prefix: str, because: str) -> None:
    for kind in ("ca", "cert", "key"):
        if getattr(server, f"{kind}_file"):
            raise ConfigError(
                f"{prefix}_{kind.upper()}_FILE is set, and {because}, or leave {prefix}_{kind.upper()}_FILE out"
            )


#: What :meth:`KafkaServer.to_env` sets, all empty: no Kafka, whatever the environment around says.
NO_KAFKA: Final = {name: "" for name in KafkaServer("-").to_env()}
