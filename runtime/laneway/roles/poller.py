"""The poller role: promotion, reaping, tidying, relaying, and with Kafka dispatch. It follows the queue's source."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass

from laneway.adapters.queue_metrics import QueueCollector
from laneway.adapters.redis import RedisStore
from laneway.adapters.redis.log import StreamEventLog
from laneway.errors import ConfigError
from laneway.gateway.watch import QueueWatch
from laneway.kit.health import Health
from laneway.kit.logs import get_logger, setup_logging
from laneway.kit.service import Service
from laneway.kit.tend_metrics import TendCounts, TendMetrics
from laneway.model.config import QueueConfig
from laneway.model.servers import KafkaServer, RedisServer
from laneway.model.topics import Topics
from laneway.ports.log import EventLog
from laneway.roles.ops import serve_ops
from laneway.roles.process import configured, refuse, run_role
from laneway.roles.source_watch import source_changed
from laneway.roles.stores import make_store
from laneway.tend.dispatcher import Dispatcher
from laneway.tend.historian import Historian
from laneway.tend.janitor import Janitor
from laneway.tend.promoter import Promoter
from laneway.tend.reaper import Reaper
from laneway.tend.relay import Relay

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PollerOptions:
    """``metrics_port`` 0: serve nothing."""

    redis: RedisServer | str
    queue: str
    namespace: str = "default"
    kafka: KafkaServer | str | None = None
    metrics_port: int = 0
    metrics_host: str = "0.0.0.0"
    log_format: str = "console"
    log_level: str = "info"
    cluster: bool = False


def run_poller(options: PollerOptions) -> int:
    """Runs until told to stop; the exit code is 0, or 2 for wrong settings."""
    setup_logging(options.log_level, options.log_format)
    return run_role(lambda stop: _poll(options, stop))


def build_services(
    options: PollerOptions,
    config: QueueConfig,
    stores: list[RedisStore],
    health: Health,
    counts: TendCounts | None = None,
) -> list[Service]:
    """The poller's duties, each with a store of its own where it waits on the queue. In the order to start them;
    they stop in the opposite order, so that the reaper and the relay outlive what makes work for them.

    Raises:
        ConfigError: the queue dispatches by Kafka, and no broker was named.
    """

    def new_store() -> RedisStore:
        store = make_store(options.redis, options.queue, options.namespace, cluster=options.cluster)
        stores.append(store)
        return store

    events: EventLog = StreamEventLog(new_store())
    services: list[Service] = []
    if options.kafka:
        from laneway.adapters.kafka.log import KafkaEventLog
        from laneway.adapters.kafka.tasks import KafkaTaskPublisher

        topics = Topics.of(options.namespace, options.queue)
        events = KafkaEventLog(options.kafka, topics)
        if config.source == "kafka":
            publisher = KafkaTaskPublisher(options.kafka, topics)
            services.append(Dispatcher(new_store(), publisher, health=health, counts=counts))
    elif config.source == "kafka":
        raise ConfigError(f"queue {options.queue} dispatches by Kafka: name its brokers with --kafka HOST:PORT")
    name = f"{options.namespace}/{options.queue}"
    kept = new_store()
    historian = Historian(kept, kept.history, lambda: relay.leading, health=health)
    relay = Relay(new_store(), events, name, health=health, counts=counts, on_relayed=historian.count)
    return [
        historian,  # (stops after the relay, whose last events it counts)
        relay,
        Janitor(new_store(), health=health, counts=counts),
        Reaper(new_store(), health=health, counts=counts),
        Promoter(new_store(), health=health, counts=counts),
        *services,
    ]


async def _poll(options: PollerOptions, stop: asyncio.Event) -> int:
    async with AsyncExitStack() as stack:
        health, queues, counts = Health(), QueueCollector(), TendCounts(options.queue)
        try:
            await serve_ops(
                stack, options.metrics_host, options.metrics_port, health, [queues, TendMetrics(counts)], stop
            )
            store, counted = (
                make_store(options.redis, options.queue, options.namespace, cluster=options.cluster) for _ in range(2)
            )
            for each in (store, counted):
                stack.push_async_callback(each.close)
            config = await configured(store, stop, health)
            if config is None:
                return 0
            if options.metrics_port:
                watch = QueueWatch(options.queue, counted, queues, health=health)
                await watch.start()
                stack.push_async_callback(watch.stop)
            while True:
                other = await _serve(options, config, store, health, counts, stop)
                if other is None:
                    break
                _log.info("the queue's tasks come from elsewhere now", queue=options.queue, source=other.source)
                config = other
        except ConfigError as error:
            return refuse(error)
    _log.info("poller stopped", queue=options.queue)
    return 0


async def _serve(
    options: PollerOptions,
    config: QueueConfig,
    store: RedisStore,
    health: Health,
    counts: TendCounts,
    stop: asyncio.Event,
) -> QueueConfig | None:
    """Does its duties for as long as the queue's source stays; returns the configuration that names another, or None
    when told to stop. Raises ConfigError as :func:`build_services`."""
    async with AsyncExitStack() as stack:
        stores: list[RedisStore] = []

        async def close_stores() -> None:
            for each in stores:
                await each.close()

        stack.push_async_callback(close_stores)
        for service in build_services(options, config, stores, health, counts):
            await service.start()
            stack.push_async_callback(service.stop)
        kafka = KafkaServer.of(options.kafka).bootstrap if options.kafka else "no"
        _log.info("poller ready", queue=options.queue, source=config.source, kafka=kafka)
        changed = asyncio.create_task(
            source_changed(store, config.source, kafka=bool(options.kafka)), name="source-watch"
        )
        told = asyncio.create_task(stop.wait(), name="told-to-stop")
        try:
            await asyncio.wait([changed, told], return_when=asyncio.FIRST_COMPLETED)
            return None if stop.is_set() else changed.result()
        finally:
            changed.cancel()
            told.cancel()
