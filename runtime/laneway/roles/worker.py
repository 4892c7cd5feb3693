"""The worker role: one process that runs handlers, or a supervisor over several of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import Any

from laneway.adapters.redis import RedisStore
from laneway.client import App
from laneway.dispatch.direct import DirectSource
from laneway.errors import ConfigError, SchemaTooNew
from laneway.execute.announcer import Announcer
from laneway.execute.executor import Executor
from laneway.execute.notes import Scribe
from laneway.execute.recycle import RecycleLimits, resident_bytes, why_recycle
from laneway.execute.run import TaskDefaults
from laneway.execute.spans import RunSpans
from laneway.execute.teller import Teller
from laneway.execute.traced import TracedExecutor
from laneway.execute.worker import Worker, WorkerSettings
from laneway.kit.health import Health
from laneway.kit.logs import get_logger, setup_logging
from laneway.kit.task_metrics import TaskMetrics
from laneway.kit.tracing import Tracing, start_tracing
from laneway.model.config import QueueConfig
from laneway.model.servers import KafkaServer
from laneway.model.task import HandlerKind
from laneway.model.topics import Topics
from laneway.ports.source import Source
from laneway.roles.appload import load_app
from laneway.roles.observing import OutcomeObserver
from laneway.roles.ops import serve_ops
from laneway.roles.process import Stop, configured, refuse, run_role
from laneway.roles.source_watch import source_changed
from laneway.roles.stores import make_store
from laneway.roles.supervisor import RECYCLE_EXIT
from laneway.roles.worker_crew import supervise
from laneway.roles.worker_options import WorkerOptions
from laneway.settle.buffer import OutcomeBuffer

__all__ = ["WorkerOptions", "build_worker", "make_source", "run_worker"]

_log = get_logger(__name__)


def run_worker(options: WorkerOptions) -> int:
    """Runs until told to stop; the exit code is 0, 2 (wrong settings), or 75 (start it again: it is recycled, or the
    queue's tasks come from elsewhere now)."""
    setup_logging(options.log_level, options.log_format)
    if options.processes > 1:
        return run_role(lambda stop: supervise(options, stop))
    if options.numbered:
        options = replace(options, name=f"{options.name}-0", numbered=False)
    try:
        app = load_app(options.app)
    except ConfigError as error:
        return refuse(error)
    return run_role(lambda stop: _work(options, app, stop))


def make_source(
    config: QueueConfig,
    store: RedisStore,
    kafka: KafkaServer | str | None,
    on_corrupt: Callable[[str], None] | None = None,
    on_wait: Callable[[str | None], None] = lambda why: None,
) -> Source:
    """Where the worker's tasks come from, by what the queue says. ``on_corrupt`` hears why a record was set aside,
    ``on_wait`` why Kafka is waited for.

    Raises:
        ConfigError: the queue dispatches by Kafka, and no broker was named.
    """
    if config.source == "direct":
        return DirectSource(store)
    if not kafka:
        raise ConfigError(f"queue {store.queue} dispatches by Kafka: name its brokers with --kafka HOST:PORT")
    from laneway.adapters.kafka.reader import PartitionReader
    from laneway.adapters.kafka.records import decode_record
    from laneway.dispatch.kafka import KafkaSource

    topics = Topics.of(store.namespace, store.queue)
    reader = PartitionReader(kafka, topics.tasks, f"{topics.tasks}.workers")
    return KafkaSource(store, reader, decode_record, on_corrupt=on_corrupt, on_wait=on_wait)


async def _work(options: WorkerOptions, app: App, stop: Stop) -> int:
    def new_store() -> RedisStore:
        return make_store(options.redis, options.queue, options.namespace, cluster=options.cluster)

    metrics = TaskMetrics()

    def count_corrupt(reason: str) -> None:
        metrics.queue(options.queue).corrupt += 1

    waiting: str | None = None

    def note_wait(why: str | None) -> None:
        nonlocal waiting
        waiting = why
        if why is not None:
            worker.on_progress()  # it lives: a restart would only wait again

    async with AsyncExitStack() as stack:
        tracing = start_tracing("laneway-worker")
        if tracing is not None:
            stack.push_async_callback(asyncio.to_thread, tracing.close)
        health = Health()
        try:
            await serve_ops(stack, options.metrics_host, options.metrics_port, health, [metrics], stop)
            store = new_store()
            stack.push_async_callback(store.close)
            config = await configured(store, stop, health)
            if config is None:
                return 0
            source = make_source(config, store, options.kafka, count_corrupt, note_wait)
        except ConfigError as error:
            return refuse(error)
        health.require("worker", lambda: "starting")
        state = await stack.enter_async_context(app.run_lifespan())
        await app.connect(store)
        worker = build_worker(
            options, app, store, source, new_store, metrics=metrics, state=state, config=config, tracing=tracing
        )
        if any(task.kind is HandlerKind.PROCESS for task in app.tasks.values()):
            await worker.executor.prepare()
        worker.on_progress = health.watch("worker", 15.0).touch
        if source.mode == "kafka":
            health.require("kafka", lambda: f"waits for Kafka: {waiting}" if waiting else None)
        health.require("lease", lambda: None if worker.view()["lease_fresh"] else "the lease is not fresh")
        try:
            await worker.start()
        except SchemaTooNew as error:  # an image that was left behind; nothing but a newer one helps
            return refuse(error)
        health.forget("worker")
        announcer = Announcer(store.notes, app.describe_tasks())
        await announcer.start()
        stack.push_async_callback(announcer.stop)
        stop.waits_for = lambda: f"{worker.executor.busy} running tasks, up to {options.drain:g} s"
        _log.info("worker ready", worker=worker.name, slots=options.slots, tasks=sorted(app.tasks), source=source.mode)
        watched = new_store()
        stack.push_async_callback(watched.close)
        teller = Teller(metrics.queue(options.queue), watched.history, health=health)
        await teller.start()
        stack.push_async_callback(teller.stop)  # (after the worker, whose last times it tells)
        changed = asyncio.create_task(
            source_changed(watched, source.mode, kafka=bool(options.kafka)), name="source-watch"
        )
        try:
            code = await _until_done(worker, options, stop, changed)
        finally:
            changed.cancel()
        await worker.stop()
        _log.info("worker stopped", worker=worker.name, done=worker.done)
        return code


def build_worker(
    options: WorkerOptions,
    app: App,
    store: RedisStore,
    source: Source,
    new_store: Callable[[], RedisStore],
    *,
    metrics: TaskMetrics,
    state: Any,
    config: QueueConfig,
    tracing: Tracing | None = None,
) -> Worker:
    """Puts one worker together: this is the only place that knows all its parts."""
    numbers = metrics.queue(options.queue)
    names = {lane.n: lane.name for lane in config.lanes}

    def lane_name(n: int) -> str:
        # Lanes come and go while this runs; the store has read the newest configuration.
        if n not in names:
            lane = store.cached_config.lane_number(n)
            names[n] = lane.name if lane else str(n)
        return names[n]

    observer = OutcomeObserver(numbers, lane_name)
    settings = WorkerSettings(name=options.name, slots=options.slots, drain=options.drain)
    spans: RunSpans | None = None
    if tracing is not None:
        spans = RunSpans(tracing, options.queue, settings.shown_name, lane_name, observer.exemplify)
    worker: Worker

    async def extend(task_id: bytes, fence: int) -> bool | None:
        return await store.extend(worker.incarnation, task_id, fence)

    scribe = Scribe(store.notes, lambda: worker.incarnation, logs=options.task_logs)

    def make_executor(**callbacks: Any) -> Executor:
        make: Callable[..., Executor] = Executor if spans is None else partial(TracedExecutor, spans=spans)
        return make(
            app.tasks,
            lane_name=lane_name,
            threads=options.threads,
            app_path=options.app,
            context_path="laneway.client.context:Context",
            middleware=app.execution_middleware(extend),
            make_context=app.context_factory(extend),
            state=state,
            observe=observer,
            scribe=scribe,
            defaults=TaskDefaults(config.max_attempts, config.backoff),
            **callbacks,
        )

    def on_exchange(settled: int, received: int, seconds: float) -> None:
        (numbers.settle if settled else numbers.dispatch).observe(seconds)

    def count_stale(n: int) -> None:
        numbers.stale += n

    worker = Worker(
        store,
        source,
        new_store,
        make_executor,
        OutcomeBuffer(),
        settings,
        on_exchange=on_exchange,
        on_stale=count_stale,
        on_answered=spans.settled if spans is not None else None,
        average_ms=observer.average_ms,
        worked=observer.worked,
    )
    return worker


async def _until_done(
    worker: Worker, options: WorkerOptions, stop: asyncio.Event, changed: asyncio.Task[QueueConfig]
) -> int:
    """Waits until the worker has to go: told to stop, told to drain, full of what it has done, or the queue's source
    ``changed``."""
    limits = RecycleLimits(options.recycle_tasks, options.recycle_mb * 1_048_576)
    waits = [asyncio.create_task(stop.wait()), asyncio.create_task(worker.draining.wait())]
    try:
        while True:
            done, _ = await asyncio.wait([*waits, changed], timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
            if not done.isdisjoint(waits):
                return 0
            if changed in done:
                _log.info("recycling", reason=f"the queue's tasks come from elsewhere now: {changed.result().source}")
                return RECYCLE_EXIT
            if worker.failed:
                _log.error("the main loop broke; the process ends and is started anew", exc_info=worker.failed)
                return 1
            why = why_recycle(limits, worker.done, resident_bytes() if limits.max_rss else 0)
            if why:
                _log.info("recycling", reason=why)
                return RECYCLE_EXIT
    finally:
        for wait in waits:
            wait.cancel()
