"""kopf: watches, and nothing else.

Only `on.event` handlers: kopf then writes no annotations, no finalizers and no events, and keeps no state on
objects. What it brings goes into the cache; passes look there.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import signal
import threading
import weakref
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import aiohttp
import kopf
from kubernetes.aio.client import Configuration

from laneway.kit.health import Health, Mark
from laneway.kit.logs import get_logger
from laneway.kit.service import Service
from laneway_operator.engine.cache import ObjectCache
from laneway_operator.engine.cluster import RequestCounter
from laneway_operator.engine.connect import http_session
from laneway_operator.engine.errors import ClusterError
from laneway_operator.engine.sync import CacheSync
from laneway_operator.keys import Body, Resource, key_of, version_of

#: The API server ends a watch after so long, and it is begun anew from where it was (s).
_SERVER_TIMEOUT_S = 290  # a whole number, or the API server refuses the watch
_CLIENT_TIMEOUT_S = 320.0
_CONNECT_TIMEOUT_S = 5.0
#: The API server sends a bookmark about each minute, so a much longer silence is a dead connection.
_INACTIVITY_S = 150.0
_ALLOWED_SILENCE_S = 240.0
_LIST_CHUNK = 250
_SERVED_RETRY_S = 2.0

_log = get_logger(__name__)


class WatchProgress:
    """When each kind's watch last brought anything: an event, a bookmark, or its own beginning or end.

    ``began_anew`` is called with a kind when a watch of it has begun after a list.
    """

    def __init__(
        self,
        resources: Iterable[Resource],
        health: Health,
        began_anew: Callable[[str], None],
        count: RequestCounter,
    ) -> None:
        self._health = health
        self._began_anew = began_anew
        self._count = count
        self._listed: set[str] = set()
        self._marks: dict[str, Mark] = {}
        self._streams: dict[str, tuple[weakref.ref[aiohttp.ClientResponse], int]] = {}
        self._paths = {f"{resource.root}/": {} for resource in resources}  # type: dict[str, dict[str, str]]
        for resource in resources:
            self._paths[f"{resource.root}/"][resource.plural] = resource.kind
            self._marks[resource.kind] = health.watch(f"watch {resource.kind}", _ALLOWED_SILENCE_S)

    def trace(self) -> aiohttp.TraceConfig:
        """What the session of the watches is to be made with."""
        trace = aiohttp.TraceConfig()
        trace.on_request_end.append(self._ended)
        trace.on_request_exception.append(self._failed)
        return trace

    def look(self) -> None:
        """Notices what came since the last look. To be called every few seconds."""
        for kind, (stream, seen) in list(self._streams.items()):
            response = stream()
            if response is None or response.closed:
                del self._streams[kind]
            elif (got := response.content.total_bytes) != seen:
                self._streams[kind] = (stream, got)
                self._marks[kind].touch()

    def age(self, kind: str) -> float:
        """Seconds since the last progress."""
        return self._marks[kind].silence

    def touch(self, kind: str) -> None:
        """An event of the kind came."""
        self._marks[kind].touch()

    def close(self) -> None:
        """Health looks at the watches no more: they were stopped."""
        for kind in self._marks:
            self._health.unwatch(f"watch {kind}")

    async def _ended(self, session: Any, context: Any, params: aiohttp.TraceRequestEndParams) -> None:
        path = params.url.path
        if kind := self._kind(path):
            self._marks[kind].touch()
            watches = params.url.query.get("watch") == "true"
            self._count("watch" if watches else "list", path.rpartition("/")[2], params.response.status)
            if not watches:
                self._listed.add(path)
                return
            self._streams[kind] = (weakref.ref(params.response), 0)
            if path in self._listed and params.response.status == 200:
                self._listed.discard(path)
                self._began_anew(kind)

    async def _failed(self, session: Any, context: Any, params: aiohttp.TraceRequestExceptionParams) -> None:
        # An API server that is away is no fault of ours, and a restart of the operator would not help.
        if kind := self._kind(params.url.path):
            self._marks[kind].touch()
            watches = params.url.query.get("watch") == "true"
            self._count("watch" if watches else "list", params.url.path.rpartition("/")[2], 0)

    def _kind(self, path: str) -> str:
        for root, plurals in self._paths.items():
            if path.startswith(root):
                return plurals.get(path.rpartition("/")[2], "")
        return ""


class _NoMemory(kopf.DiffBaseStorage):
    """kopf compares each object with the one it handled last; nobody asks for that here, and it takes time."""

    def build(self, *, body: kopf.Body, extra_fields: Iterable[Any] | None = None) -> kopf.BodyEssence:
        """Nothing of an object is kept: kopf takes None for that, as it does from :meth:`fetch`."""
        return None  # type: ignore[return-value]

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        """Nothing was kept."""
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Nothing is written."""


class Watches(Service):
    """Runs kopf for these resources. ``selectors`` are label selectors per kind; ``namespaces`` empty: all.

    kopf looks once for what there is to watch, so it begins only when all are served: ``unserved`` names those that
    are not. ``reclaim_signals`` is called after kopf has put its own signal handlers in: the process's are ours.
    """

    def __init__(
        self,
        config: Configuration,
        cache: ObjectCache,
        sync: CacheSync,
        resources: Sequence[Resource],
        *,
        namespaces: tuple[str, ...] = (),
        selectors: dict[str, str] | None = None,
        health: Health,
        count: RequestCounter,
        unserved: Callable[[], Awaitable[list[str]]],
        reclaim_signals: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__("watches", health=health, allowed_silence=60.0, grace=3.0)
        self._config = config
        self._cache = cache
        self._sync = sync
        self._resources = tuple(resources)
        self._namespaces = namespaces
        self._selectors = selectors or {}
        self._reclaim_signals = reclaim_signals
        self._watched = health
        self._count = count
        self._unserved = unserved
        self._tasks: set[asyncio.Task[Any]] = set()
        self.progress: WatchProgress | None = None

    async def on_start(self) -> None:
        """Health looks at the watches from now on."""
        self.progress = WatchProgress(self._resources, self._watched, self._sync.ask, self._count)

    async def run(self) -> None:
        """Runs kopf until told to stop. An end of kopf's own is an error: it is begun anew."""
        if not await self._all_served():
            return
        tasks = await kopf.spawn_tasks(
            registry=self._registry(),
            settings=self._settings(),
            namespaces=self._namespaces,
            clusterwide=not self._namespaces,
            standalone=True,
        )
        if threading.current_thread() is threading.main_thread():
            self._reclaim_signals()
        self._tasks = set(tasks)
        while True:
            self.touch()
            if self.progress is not None:
                self.progress.look()
            if not await self.pause(2.0):
                return
            ended = [task for task in tasks if task.done()]
            if ended:
                await self._end_tasks()
                for task in ended:
                    task.result()
                raise RuntimeError(f"kopf's {ended[0].get_name()} ended")

    async def _all_served(self) -> bool:
        """Waits until all kinds are served; False when told to stop before."""
        said = ""
        while not self.stopping:
            self.touch()
            try:
                missing = await self._unserved()
                why = f"not served: {', '.join(missing)}; install Laneway's CRDs (crds/)" if missing else ""
            except ClusterError as error:
                why = str(error)
            if not why:
                return True
            if why != said:
                said = why
                _log.warning("can't watch yet; it is tried again", reason=why)
            for resource in self._resources:
                if self.progress is not None:
                    self.progress.touch(resource.kind)  # waiting for CRDs is no fault that a restart would cure
            await self.pause(_SERVED_RETRY_S)
        return False

    async def on_stop(self) -> None:
        """Ends kopf."""
        await self._end_tasks()
        if self.progress is not None:
            self.progress.close()

    async def _end_tasks(self) -> None:
        # Not kopf.run_tasks: in the end it cancels every task of the event loop that is younger than kopf.
        tasks, self._tasks = self._tasks, set()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=10.0)

    def _settings(self) -> kopf.OperatorSettings:
        settings = kopf.OperatorSettings()
        settings.process.ultimate_exiting_timeout = None
        settings.posting.enabled = False
        settings.scanning.disabled = True  # so no rights to CRDs and namespaces are needed
        settings.persistence.finalizer = "laneway.dev/kopf"
        settings.persistence.diffbase_storage = _NoMemory()
        settings.persistence.progress_storage = kopf.StatusProgressStorage(field="status.laneway-kopf")
        settings.queueing.idle_timeout = 1.0
        settings.watching.server_timeout = _SERVER_TIMEOUT_S
        settings.watching.client_timeout = _CLIENT_TIMEOUT_S
        settings.watching.connect_timeout = _CONNECT_TIMEOUT_S
        settings.watching.inactivity_timeout = _INACTIVITY_S
        settings.watching.reconnect_backoff = 0.5
        settings.watching.chunk_size = _LIST_CHUNK
        settings.networking.connect_timeout = _CONNECT_TIMEOUT_S
        settings.networking.request_timeout = 30.0
        settings.networking.error_backoffs = (1, 1, 2, 3, 5, *itertools.repeat(10, 100))
        for resource in self._resources:
            if selector := self._selectors.get(resource.kind):
                settings.watching.label_selectors[resource.group, resource.version, resource.plural] = selector
        return settings

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry)(self._login)
        for resource in self._resources:
            kopf.on.event(
                resource.group, resource.version, resource.plural, registry=registry, id=f"watch-{resource.plural}",
                when=self._is_news(resource),
            )(self._handler(resource))  # fmt: skip
        return registry

    async def _login(self, **_: Any) -> kopf.AiohttpSession:
        traces = [self.progress.trace()] if self.progress is not None else []
        return kopf.AiohttpSession(
            server=str(self._config.host),
            aiohttp_session=http_session(self._config, traces),
            default_namespace=None,
        )

    def _handler(self, resource: Resource) -> Callable[..., Any]:
        async def on_event(event: dict[str, Any], **_: Any) -> None:
            self.take_in(resource, event["type"], event["object"])

        return on_event

    def _is_news(self, resource: Resource) -> Callable[..., bool]:
        """Most events are echoes of what we have just written and know: calling a handler for these costs more."""

        def is_news(event: dict[str, Any], **_: Any) -> bool:
            if self.progress is not None:
                self.progress.touch(resource.kind)
            body = event["object"]
            known = self._cache.get(key_of(body, resource.kind))
            return event["type"] == "DELETED" or known is None or version_of(body) > version_of(known)

        return is_news

    def take_in(self, resource: Resource, type: str | None, raw: Any) -> None:
        """One event: ``type`` None is an item of a list."""
        body: Body = {**raw, "kind": resource.kind, "apiVersion": resource.api_version}
        key = key_of(body)
        if type == "DELETED":
            self._cache.remove(key, version_of(body))
            return
        self._cache.put(body)


def quiet_kopf() -> None:
    """Mutes what kopf says twice: each failure of a watch, with its traceback, at every level that it passes. The
    last of them ends :meth:`Watches.run`, which logs it."""
    for name in ("orchestration", "running"):
        logging.getLogger(f"kopf._core.reactor.{name}").setLevel(logging.CRITICAL)
    logging.getLogger("kopf").setLevel(logging.WARNING)


def own_signals(stop: Callable[[], None], interrupt: Callable[[], None]) -> Callable[[], None]:
    """A function that puts a process's own handlers of SIGTERM and SIGINT in (again)."""

    def reclaim() -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, stop)
        loop.add_signal_handler(signal.SIGINT, interrupt)

    return reclaim
