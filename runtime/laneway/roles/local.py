"""Everything of some manifests on one machine: Redis, gateway, pollers and workers as child processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from laneway.adapters.embedded import EmbeddedRedis
from laneway.adapters.redis import RedisStore
from laneway.errors import ConfigError
from laneway.kit.logs import get_logger
from laneway.kit.ports import free_port, is_free
from laneway.lanes.configure import apply_configuration
from laneway.model.config import QueueConfig, TenantConfig
from laneway.model.manifests import Manifests, QueueManifests
from laneway.model.servers import KafkaServer, RedisServer
from laneway.model.topics import Topics
from laneway.policy.plan import plan_config, plan_pool
from laneway.roles.process import SUPERVISOR_ENV
from laneway.roles.stores import server_env
from laneway.roles.supervisor import Child, Supervisor
from laneway.roles.worker_options import WorkerOptions, worker_command

_log = get_logger(__name__)

#: How often it is looked whether the embedded Redis still runs (s).
_REDIS_LOOK_S = 0.5


@dataclass(frozen=True, slots=True)
class LocalOptions:
    """``redis`` and ``kafka`` are real servers; without ``redis`` an embedded one keeps its data in ``data`` (None: a
    temporary folder). ``port`` is the gateway's (0: no gateway). ``metrics``: pollers and workers serve theirs on free
    ports of loopback. ``app_folders`` are searched for the pools' apps."""

    redis: RedisServer | str | None = None
    kafka: KafkaServer | str | None = None
    data: Path | None = None
    port: int = 8080
    metrics: bool = False
    app_folders: tuple[Path, ...] = ()
    log_format: str = "console"
    log_level: str = "info"


class LocalStack:
    """Runs manifests. ``start`` returns when every queue is configured and every process was started."""

    def __init__(self, manifests: Manifests, options: LocalOptions) -> None:
        self.manifests = manifests
        self.options = options
        self.redis = RedisServer.of(options.redis) if options.redis else RedisServer()
        #: Where pollers and workers serve metrics and health, by child's name.
        self.metrics_urls: dict[str, str] = {}
        self._embedded: EmbeddedRedis | None = None
        self._supervisor: Supervisor | None = None
        self._redis_unwatched = asyncio.Event()
        self._redis_watch: asyncio.Task[None] | None = None

    @property
    def queues(self) -> list[str]:
        """The names of the queues."""
        return [queue.name for queue in self.manifests.queues]

    @property
    def namespace(self) -> str:
        """The namespace of the queues; one stack serves one."""
        return self.manifests.queues[0].namespace

    @property
    def children(self) -> list[Child]:
        """The processes that it keeps running."""
        return self._supervisor.children if self._supervisor else []

    def store(self, queue: str) -> RedisStore:
        """A store of one of its queues; the caller closes it."""
        return RedisStore(self.redis, queue, namespace=self.namespace, cluster=self._cluster(queue))

    def _cluster(self, queue: str) -> bool:
        spec = self._manifest(queue).queue.spec.redis
        return not self._embedded and self.options.redis is None and spec is not None and spec.topology == "Cluster"

    def _manifest(self, queue: str) -> QueueManifests:
        return next(manifest for manifest in self.manifests.queues if manifest.name == queue)

    async def start(self) -> None:
        """Starts it all.

        Raises:
            ConfigError: the manifests can't be run here; says what would be right.
        """
        self._check()
        await self._start_redis()
        try:
            await self.configure()
            self._supervisor = Supervisor(self._processes())
            await self._supervisor.start()
        except BaseException:
            await self.stop()
            raise

    def _check(self) -> None:
        if self.options.port and not is_free(self.options.port):
            raise ConfigError(
                f"port {self.options.port} is in use on 127.0.0.1, perhaps by another laneway up: "
                "name another for the gateway with --port PORT, or take any free one with --port 0"
            )
        if not self.manifests.queues:
            raise ConfigError("there is no TaskQueue in the manifests: add one (kind: TaskQueue)")
        namespaces = {queue.namespace for queue in self.manifests.queues}
        if len(namespaces) > 1:
            raise ConfigError(f"one laneway up runs one namespace, not {', '.join(sorted(namespaces))}")
        for manifest in self.manifests.queues:
            for pool in manifest.pools:
                missing = [name for name in plan_pool(pool).env_required if name not in os.environ]
                if missing:
                    raise ConfigError(
                        f"WorkerPool {pool.metadata.name}: {', '.join(missing)} come from a Secret in a cluster; "
                        "set them in the environment here"
                    )

    async def _start_redis(self) -> None:
        if self.options.redis:
            return
        urls = {spec.url for manifest in self.manifests.queues if (spec := manifest.queue.spec.redis) and spec.url}
        secret = [
            m.name for m in self.manifests.queues if (spec := m.queue.spec.redis) is not None and spec.url is None
        ]
        if secret:
            raise ConfigError(
                f"TaskQueue {', '.join(secret)}: redis.secretRef names a Secret, and there is none here: "
                "give the URL with --redis URL"
            )
        if len(urls) > 1:
            raise ConfigError("the queues name several Redis servers; choose one with --redis URL")
        if urls:
            # (What a Secret holds in a cluster, such as a password or certificates, is in the environment here.)
            self.redis = RedisServer.from_env(os.environ, url=urls.pop(), cluster=False)
            return
        self._embedded = EmbeddedRedis(self.options.data, tcp=True)
        await asyncio.to_thread(self._embedded.start)
        self.redis = RedisServer(self._embedded.url)
        self._redis_unwatched.clear()
        self._redis_watch = asyncio.create_task(self._watch_redis(self._embedded), name="watch-redis")

    async def _watch_redis(self, embedded: EmbeddedRedis) -> None:
        """Starts the embedded Redis again when it ended by itself: the others wait for it meanwhile."""
        while not self._redis_unwatched.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._redis_unwatched.wait(), _REDIS_LOOK_S)
                return
            try:
                if await asyncio.to_thread(embedded.revive):
                    _log.error("the embedded Redis had ended; it runs again, on the same data", pid=embedded.pid)
            except (ConfigError, OSError) as error:
                _log.error("the embedded Redis ended and did not start; trying again", reason=str(error))

    async def configure(self) -> None:
        """Brings every queue's live configuration (and its topics) to the manifests; may be called again."""
        for manifest in self.manifests.queues:
            source = self.source(manifest)

            def plan(
                current: QueueConfig | None,
                empty: frozenset[str],
                manifest: QueueManifests = manifest,
                source: str = source,
            ) -> tuple[QueueConfig, Mapping[str, TenantConfig]]:
                return plan_config(current, manifest, empty_lanes=empty, source=source)

            store = self.store(manifest.name)
            try:
                config = await apply_configuration(store, plan)
                for warning in await store.check_server():
                    _log.warning(warning, queue=manifest.name)
            finally:
                await store.close()
            if source == "kafka":
                await self._ensure_topics(manifest)
            lanes = [lane.name for lane in config.lanes if not lane.gone]
            _log.info("queue configured", queue=manifest.name, version=config.version, source=source, lanes=lanes)

    def source(self, manifest: QueueManifests) -> str:
        """Where workers of the queue get their tasks here: without Kafka, straight from Redis."""
        wanted = manifest.queue.source.lower()
        if self.options.kafka:
            return "kafka"
        if wanted == "kafka":
            _log.warning("no --kafka HOST:PORT: workers take tasks from Redis directly", queue=manifest.name)
        return "direct"

    async def _ensure_topics(self, manifest: QueueManifests) -> None:
        from laneway.adapters.kafka.admin import ensure_topics

        kafka = manifest.queue.spec.kafka
        workers = sum(plan_pool(pool).processes for pool in manifest.pools)
        partitions = max(kafka.partitions if kafka else 4, workers)
        assert self.options.kafka
        topics = Topics.of(manifest.namespace, manifest.name)
        await ensure_topics(self.options.kafka, topics, partitions=partitions, kafka=kafka)

    # -- processes

    def _processes(self) -> list[Child]:
        env = {
            SUPERVISOR_ENV: str(os.getpid()),
            "PYTHONPATH": os.pathsep.join(
                [*(str(f.resolve()) for f in self.options.app_folders), os.environ.get("PYTHONPATH", "")]
            ).rstrip(os.pathsep),
        }
        children: list[Child] = []
        if self.options.port:
            servers = self._server_env(self.queues[0])
            children.append(Child("gateway", self._gateway_command(), {**env, **servers}, grace=15))
        for manifest in self.manifests.queues:
            children += self._worker_children(manifest, env)
        for manifest in self.manifests.queues:
            servers = self._server_env(manifest.name)
            name = f"poller-{manifest.name}"
            children.append(Child(name, self._poller_command(manifest), {**env, **servers}, grace=15))
        return children

    def _common(self) -> list[str]:
        return [
            "--namespace", self.namespace,
            "--log-format", self.options.log_format, "--log-level", self.options.log_level,
        ]  # fmt: skip

    def _server_env(self, queue: str) -> dict[str, str]:
        return server_env(RedisServer.of(self.redis, cluster=self._cluster(queue)), self.options.kafka)

    def _gateway_command(self) -> list[str]:
        queues = [arg for queue in self.queues for arg in ("--queue", queue)]
        return _laneway("gateway", *queues, "--host", "127.0.0.1", "--port", str(self.options.port), *self._common())

    def _poller_command(self, manifest: QueueManifests) -> list[str]:
        port = str(self._metrics_port(f"poller-{manifest.name}"))
        metrics = ["--metrics-port", port, "--metrics-host", "127.0.0.1"]
        return _laneway("poller", "--queue", manifest.name, *metrics, *self._common())

    def _metrics_port(self, child: str) -> int:
        if not self.options.metrics:
            return 0
        port = free_port()
        self.metrics_urls[child] = f"http://127.0.0.1:{port}/metrics"
        return port

    def _worker_children(self, manifest: QueueManifests, env: Mapping[str, str]) -> list[Child]:
        children = []
        for pool in map(plan_pool, manifest.pools):
            for i in range(pool.processes):
                options = WorkerOptions(
                    app=pool.app,
                    redis=self.redis,
                    queue=manifest.name,
                    namespace=manifest.namespace,
                    kafka=self.options.kafka,
                    slots=pool.slots,
                    threads=pool.threads,
                    drain=pool.drain_s,
                    recycle_tasks=pool.recycle_tasks,
                    recycle_mb=pool.recycle_bytes // 1_048_576,
                    log_format=self.options.log_format,
                    log_level=self.options.log_level,
                    name=f"{pool.name}-{i}",
                    cluster=self._cluster(manifest.name),
                    metrics_port=self._metrics_port(f"worker-{pool.name}-{i}"),
                    metrics_host="127.0.0.1",
                )
                children.append(
                    Child(
                        f"worker-{pool.name}-{i}",
                        worker_command(options),
                        {**env, **dict(pool.env), **self._server_env(manifest.name)},
                        grace=pool.drain_s + 15,
                    )
                )
        return children

    async def stop(self) -> None:
        """Stops the processes in order, then Redis."""
        if self._supervisor is not None:
            await self._supervisor.stop()
        if self._redis_watch is not None:
            self._redis_unwatched.set()
            await self._redis_watch
            self._redis_watch = None
        if self._embedded is not None:
            await asyncio.to_thread(self._embedded.stop)

    def kill(self) -> None:
        """Ends the processes now; their tasks are handed on when others run again. :meth:`stop` does the rest."""
        if self._supervisor is not None:
            self._supervisor.kill()


def _laneway(command: str, *args: str) -> list[str]:
    return [sys.executable, "-m", "laneway", command, *args]


def folders_of(paths: Sequence[Path]) -> tuple[Path, ...]:
    """The folders that hold these manifests: where the pools' apps are looked for."""
    return tuple(dict.fromkeys(path if path.is_dir() else path.parent for path in paths))
