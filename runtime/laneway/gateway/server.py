"""An HTTP server in this process, as a service: the gateway's, and for the health and metrics of other
roles."""

from __future__ import annotations

import contextlib
import math
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from laneway.errors import ConfigError
from laneway.gateway.limits import GatewayLimits
from laneway.gateway.wire import BoundedHttp, bounded_http
from laneway.kit.health import Health
from laneway.kit.service import Service

_BACKLOG = 2048
_UNIX = "unix:"


class Ending:
    """Tells answers that go on and on, such as streams, that the server takes no more requests and waits for those
    under way. Requests find it in their scope under :data:`ENDING`."""

    def __init__(self) -> None:
        self.now = False
        #: Called once, when it ends.
        self.bells: set[Callable[[], None]] = set()

    def begin(self) -> None:
        """It ends now."""
        if not self.now:
            self.now = True
            for bell in list(self.bells):
                bell()


#: Where a request's scope has the server's :class:`Ending`.
ENDING = "laneway.ending"


class HttpServer(Service):
    """Serves an ASGI application on ``host:port`` (port 0: any free one; :attr:`port` says which), or on the Unix
    socket of a host ``unix:PATH``.

    Stopping: ``/readyz`` says no at once, for ``linger`` seconds requests are still taken (so that load balancers
    notice first) with answers that close their connection, then no new ones are and idle connections are closed, and
    requests under way get up to ``drain`` seconds. Of ``limits``, those of connections hold here.
    """

    def __init__(
        self,
        app: ASGIApp,
        host: str = "127.0.0.1",
        port: int = 8080,
        *,
        name: str = "http",
        health: Health | None = None,
        linger: float = 0.0,
        drain: float = 10.0,
        limits: GatewayLimits | None = None,
    ) -> None:
        super().__init__(name, health=health, allowed_silence=10.0, grace=linger + drain + 2.0)
        self.host = host
        self.port = port
        self._app = app
        self._linger = linger
        self._drain = drain
        self._limits = limits or GatewayLimits()
        self._server: _Server | None = None
        self._looked = 0.0
        self._socket: socket.socket | None = None
        self._stop_seen: float | None = None
        self._ending = Ending()
        if health is not None:
            health.require(name, self._why_not_ready)

    async def on_start(self) -> None:
        """Listens.

        Raises:
            ConfigError: it can't listen there.
        """
        self._listen()

    async def run(self) -> None:
        """Serves until stopped."""
        listener = self._listen()
        config = uvicorn.Config(
            self._closing,
            interface="asgi3",
            http=bounded_http(self._limits),
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=max(1, math.ceil(self._drain)),
        )
        server = self._server = _Server(config, self._tick)
        try:
            await server.serve([listener])
        finally:
            listener.close()
            self._socket = None

    async def on_stop(self) -> None:
        """Closes the socket when it never served."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def _closing(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application; while stopping, with ``Connection: close`` in its answers: clients that keep a connection
        open make their next one to somebody else."""

        async def closing(message: Message) -> None:
            if message["type"] == "http.response.start" and self.stopping:
                message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
            await send(message)

        if scope["type"] == "http":
            await self._app({**scope, ENDING: self._ending}, receive, closing)
        else:
            await self._app(scope, receive, send)

    def _listen(self) -> socket.socket:
        if self._socket is None and self.host.startswith(_UNIX):
            self._socket = _listen_unix(self.host.removeprefix(_UNIX))
        elif self._socket is None:
            try:
                family, *_, address = socket.getaddrinfo(
                    self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
                )[0]
                # An answer's head and body are two writes: without NODELAY (which connections inherit, and which
                # asyncio sets by itself only where the protocol is named) the second waits 40 ms for a client's ACK.
                listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
                try:
                    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    listener.bind(address)
                    listener.listen(_BACKLOG)
                except BaseException:
                    listener.close()
                    raise
            except OSError as error:
                raise ConfigError(
                    f"can't listen on {self.host}:{self.port} ({error}): choose an address of this machine "
                    "and a free port"
                ) from error
            self._socket = listener
            self.port = listener.getsockname()[1]
        return self._socket

    def _tick(self) -> bool:
        """Called ten times a second by the server's loop; returns whether to exit."""
        self.touch()
        self._end_slow()
        if not self.stopping:
            return False
        if self._stop_seen is None:
            self._stop_seen = time.monotonic()
        if time.monotonic() - self._stop_seen < self._linger:
            return False
        self._ending.begin()
        return True

    def _end_slow(self) -> None:
        """Ends connections whose request does not come whole in time. (One look a second at all of them costs less
        than a timer for each request.)"""
        now = time.monotonic()
        if self._server is None or now - self._looked < min(1.0, self._limits.head_seconds / 10):
            return
        self._looked = now
        for connection in list(self._server.server_state.connections):
            if isinstance(connection, BoundedHttp):
                connection.end_if_slow(now)

    def _why_not_ready(self) -> str | None:
        if self.stopping:
            return "stopping"
        return None if self.started else "not started"


def _listen_unix(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        Path(path).unlink(missing_ok=True)  # a process of before, which did not end well
        listener.bind(path)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"can't listen on the socket {path} ({error}): choose a path of up to 100 characters"
        ) from error
    return listener


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: signals are the role's."""

    def __init__(self, config: uvicorn.Config, tick: Callable[[], bool]) -> None:
        super().__init__(config)
        self._tick = tick

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def on_tick(self, counter: int) -> bool:
        return await super().on_tick(counter) or self._tick()
