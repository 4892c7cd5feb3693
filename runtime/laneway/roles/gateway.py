"""The gateway role: the HTTP API of one or more queues."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from laneway.adapters.auth_files import load_auth
from laneway.dashboard.pages import HOME
from laneway.errors import ConfigError
from laneway.gateway.app import build_app
from laneway.gateway.auth.access import Access
from laneway.gateway.auth.local import require_loopback
from laneway.gateway.server import HttpServer
from laneway.kit.health import Health
from laneway.kit.logs import get_logger, setup_logging
from laneway.kit.tracing import start_tracing
from laneway.model.auth import OPEN
from laneway.model.servers import KafkaServer, RedisServer
from laneway.model.topics import Topics
from laneway.ports.events import EventFeed
from laneway.roles.process import refuse, run_role
from laneway.roles.stores import make_store

_log = get_logger(__name__)

#: Seconds that a call is repeated while Redis is away: clients are told soon, and try again themselves.
_PATIENCE = 0.5


@dataclass(frozen=True, slots=True)
class GatewayOptions:
    """``port`` 0: any free one (it is logged). ``linger`` (s): how long it goes on answering after it was told to stop,
    while ``/readyz`` says no already, so that nobody is sent here who would find it gone. ``auth`` is what ``--auth``
    said: a file, JSON or ``none``; without it, the gateway serves only on loopback. ``kafka``: where the queues'
    pollers tell their events (None: in Redis)."""

    redis: RedisServer | str
    queues: tuple[str, ...]
    namespace: str = "default"
    host: str = "127.0.0.1"
    port: int = 8080
    linger: float = 0.0
    log_format: str = "console"
    log_level: str = "info"
    cluster: bool = False
    auth: str | None = None
    kafka: KafkaServer | str | None = None


def run_gateway(options: GatewayOptions) -> int:
    """Runs until told to stop; the exit code is 0, or 2 for wrong settings."""
    setup_logging(options.log_level, options.log_format)
    return run_role(lambda stop: _serve(options, stop))


async def _serve(options: GatewayOptions, stop: asyncio.Event) -> int:
    health = Health()
    try:
        access = open_access(options.auth, options.host, health)
        stores = {
            queue: make_store(options.redis, queue, options.namespace, cluster=options.cluster, patience=_PATIENCE)
            for queue in options.queues
        }
        feeds = event_feeds(options)
    except ConfigError as error:
        return refuse(error)
    tracing = start_tracing("laneway-gateway")
    app = build_app(stores, access=access, health=health, tracing=tracing, feeds=feeds)
    server = HttpServer(app, options.host, options.port, health=health, linger=options.linger)
    try:
        await access.start()
        await server.start()
        url = f"http://{options.host}:{server.port}"
        _log.info("gateway ready", url=url, dashboard=f"{url}{HOME}", queues=list(options.queues))
        await stop.wait()
    except ConfigError as error:
        return refuse(error)
    finally:
        await server.stop()
        await access.stop()
        for store in stores.values():
            await store.close()
        if tracing is not None:
            await asyncio.to_thread(tracing.close)
    _log.info("gateway stopped")
    return 0


def event_feeds(options: GatewayOptions) -> dict[str, EventFeed]:
    """Where the events of queues are read, if not in Redis.

    Raises:
        ConfigError: what Kafka was given with is wrong, such as a certificate's file.
    """
    if not options.kafka:
        return {}
    from laneway.adapters.kafka.feed import KafkaFeed

    return {queue: KafkaFeed(options.kafka, Topics.of(options.namespace, queue)) for queue in options.queues}


def open_access(auth: str | None, host: str, health: Health) -> Access:
    """Who may use a gateway that listens on ``host``, by what ``--auth`` said.

    Raises:
        ConfigError: it said nothing and ``host`` is not loopback, or what it said is wrong.
    """
    if auth is None:
        require_loopback(host)
        return Access(OPEN, health=health, local=True)
    access = Access(load_auth(auth), health=health)
    if not access.required:
        _log.warning("everybody who reaches this gateway may do all (auth: none)", host=host)
    return access
