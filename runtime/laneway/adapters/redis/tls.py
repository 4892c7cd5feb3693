"""Connections to Redis with TLS.

redis-py's own would trust what the machine trusts besides the authority that was named, keep what it once read of the
files, and lose what a server means that closes the connection after the handshake.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from redis.asyncio.cluster import RedisCluster
from redis.asyncio.connection import Connection, SSLConnection
from redis.exceptions import AuthenticationError, ConnectionError

from laneway.adapters.tls import client_context
from laneway.errors import ConfigError


class TlsConnection(SSLConnection):
    """A connection whose files are read each time that it is made: renewed ones need no restart."""

    def _connection_arguments(self) -> Mapping[str, Any]:
        files = self.ssl_context
        arguments = dict(Connection._connection_arguments(self))
        try:
            arguments["ssl"] = client_context(
                "LANEWAY_REDIS", files.ca_certs or "", files.certfile or "", files.keyfile or ""
            )
        except ConfigError as error:  # they were right at the start, so this may well be mended
            raise ConnectionError(f"Error connecting to {self.host}:{self.port}. {error}") from error
        return arguments

    async def on_connect_check_health(self, check_health: bool = True) -> None:
        """Logs in. With TLS 1.3 the handshake is over before the server has looked at the client's certificate, and its
        refusal may be lost with the connection that it closes."""
        try:
            await super().on_connect_check_health(check_health)
        except AuthenticationError:
            raise
        except ConnectionError as error:
            if isinstance(error.__cause__ or error.__context__, ConnectionResetError) or "closed" in str(error):
                raise ConnectionError(
                    f"Error connecting to {self.host}:{self.port}. It closes the connection after the TLS handshake: "
                    "it may want a certificate of this client, see LANEWAY_REDIS_CERT_FILE"
                ) from error
            raise


def use_tls(client: Any) -> None:
    """Has a client that was made from a ``rediss://`` URL connect by :class:`TlsConnection`."""
    if isinstance(client, RedisCluster):
        for kwargs in (client.connection_kwargs, client.nodes_manager.connection_kwargs):
            kwargs["connection_class"] = TlsConnection
        for node in client.nodes_manager.startup_nodes.values():
            node.connection_class = TlsConnection
    else:
        client.connection_pool.connection_class = TlsConnection
