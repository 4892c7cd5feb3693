"""How aiokafka's clients are told where Kafka is, and what its errors mean."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

from aiokafka.conn import create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    AuthenticationMethodNotSupported,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from laneway.adapters.tls import check_files, client_context
from laneway.errors import Unavailable
from laneway.model.servers import KafkaServer

#: What a client of Kafka raises when that is away or refuses.
AWAY = (KafkaError, OSError, TimeoutError)
#: What it answers to a user whose ACLs lack something.
NOT_ALLOWED = (ClusterAuthorizationFailedError, GroupAuthorizationFailedError, TopicAuthorizationFailedError)
_WRONG_PASSWORD = (AuthenticationFailedError, SaslAuthenticationFailed)
_WRONG_MECHANISM = (AuthenticationMethodNotSupported, UnsupportedSaslMechanismError)
_LOOK_S = 3.0


class TurnedAway(Unavailable):
    """Kafka is there and lets this client do nothing: a wrong password, certificate or ACL. Waiting is no cure."""


class Disconnected(Exception):
    """The broker took the connection and closed it: it wants something else there."""


def checked(server: KafkaServer | str) -> KafkaServer:
    """The server, once its certificates' files were read: a wrong one is found before the first connection.

    Raises:
        ConfigError: a certificate's file is missing or wrong.
    """
    server = KafkaServer.of(server)
    if server.tls:
        check_files("LANEWAY_KAFKA", server.ca_file, server.cert_file, server.key_file)
    return server


def client_options(server: KafkaServer) -> dict[str, Any]:
    """The arguments by which any client of aiokafka reaches this Kafka. Certificates' files are read now: renewed ones
    are taken by the next client that is made.

    Raises:
        ConfigError: a certificate's file is missing or wrong.
    """
    options: dict[str, Any] = {"bootstrap_servers": server.bootstrap, "security_protocol": server.protocol}
    if server.tls:
        options["ssl_context"] = client_context("LANEWAY_KAFKA", server.ca_file, server.cert_file, server.key_file)
    if server.mechanism:
        options["sasl_mechanism"] = server.mechanism
        options["sasl_plain_username"] = server.username
        options["sasl_plain_password"] = server.password
    return options


async def away(server: KafkaServer, error: Exception) -> Unavailable:
    """The error to raise when Kafka could not be reached. aiokafka keeps the cause to itself, so where it may be a
    matter of TLS or of a password, this looks for it."""
    cause: Exception = error
    if not isinstance(error, (*NOT_ALLOWED, TimeoutError)):
        cause = await _cause(server) or error
    denied = isinstance(cause, (ssl.SSLError, *_WRONG_MECHANISM, *_WRONG_PASSWORD, *NOT_ALLOWED))
    kind = TurnedAway if denied else Unavailable
    return kind(f"Kafka at {server.bootstrap} {explain(server, cause)}", 1.0)


def explain(server: KafkaServer, error: Exception) -> str:
    """What an error means and what would be right, to go on after the name of the server."""
    if isinstance(error, ssl.SSLCertVerificationError):
        trusted = (
            "LANEWAY_KAFKA_CA_FILE must hold the certificate of the authority that signed it"
            if server.ca_file
            else "name the certificate of the authority that signed it in LANEWAY_KAFKA_CA_FILE"
        )
        return f"shows a certificate that is not accepted ({error.verify_message}): {trusted}"
    if isinstance(error, ssl.SSLError):
        return f"does not agree on TLS ({error.reason or error}): see LANEWAY_KAFKA_TLS and LANEWAY_KAFKA_CERT_FILE"
    if isinstance(error, _WRONG_MECHANISM):
        return f"does not take {server.mechanism} ({error}): set LANEWAY_KAFKA_SASL_MECHANISM to one that it has"
    if isinstance(error, _WRONG_PASSWORD):
        return f"refuses the user {server.username!r} ({error}): see LANEWAY_KAFKA_USERNAME and LANEWAY_KAFKA_PASSWORD"
    if isinstance(error, NOT_ALLOWED):
        who = f"the user {server.username!r}" if server.username else "this client"
        return f"does not allow it to {who} ({error}): its ACLs lack something"
    if isinstance(error, Disconnected):
        return (
            f"closes the connection ({error}): is that the port for {server.protocol}, and does it want a certificate "
            "of this client? See LANEWAY_KAFKA_TLS, LANEWAY_KAFKA_CERT_FILE and LANEWAY_KAFKA_SASL_MECHANISM"
        )
    if isinstance(error, TimeoutError) and not str(error):
        return "is away (no answer in time)"
    return f"is away ({error})"


async def _cause(server: KafkaServer) -> Exception | None:
    """Connects to the brokers in turn as a client does; the first error that says more than that nobody is there."""
    options = client_options(server)
    servers = options.pop("bootstrap_servers").split(",")
    for address in servers:
        host, _, port = address.rpartition(":")
        try:
            async with asyncio.timeout(_LOOK_S):
                connection = await create_conn(
                    host.strip("[]"), int(port), request_timeout_ms=int(_LOOK_S * 1000), **options
                )
                try:
                    await connection.send(MetadataRequest([]))
                finally:
                    connection.close()
        except ConnectionRefusedError:
            continue
        except (ConnectionError, KafkaConnectionError, ssl.SSLEOFError) as error:
            return Disconnected(str(error))
        except (ssl.SSLError, *_WRONG_PASSWORD, *_WRONG_MECHANISM) as error:
            return error
        except ValueError as error:  # (what aiokafka's SCRAM raises when the server's proof is wrong)
            return error
        except AWAY:
            continue
    return None
