"""Keeps the cache whole: at the start, and when a watch may have missed a deletion.

A watch that was away for too long begins again with a list of what is there; of what was deleted meanwhile it
says nothing, and kopf passes that list on as it is. So whenever a watch has begun after a list, at the start as
well, and every so often, all objects are compared with a list of our own, which is newer than the watch's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from laneway.kit.health import Health
from laneway.kit.logs import get_logger
from laneway.kit.service import Service
from laneway_operator.engine.cache import ObjectCache
from laneway_operator.engine.cluster import Cluster
from laneway_operator.engine.errors import ClusterError, NotFound
from laneway_operator.keys import ObjectKey, key_of, version_of

_log = get_logger(__name__)

#: Watches of several namespaces begin one after the other.
_SETTLE_S = 0.2
_RETRY_S = 2.0


class CacheSync(Service):
    """Lists a kind when asked, and all every ``every`` seconds, and corrects the cache.

    ``selectors`` are label selectors per kind; ``namespaces`` empty means all.
    """

    def __init__(
        self,
        cluster: Cluster,
        cache: ObjectCache,
        *,
        namespaces: tuple[str, ...] = (),
        selectors: Mapping[str, str] | None = None,
        every: float = 600.0,
        health: Health | None = None,
    ) -> None:
        super().__init__("cache sync", health=health, allowed_silence=120.0)
        self._cluster = cluster
        self._cache = cache
        self._namespaces = namespaces or ("",)
        self._selectors = dict(selectors or {})
        self._every = every
        self._asked: dict[str, None] = {}
        self._more = asyncio.Event()
        self._said = ""

    def ask(self, kind: str) -> None:
        """Wants a kind listed anew, in a moment: a watch began again."""
        self._asked[kind] = None
        self._more.set()

    async def run(self) -> None:
        """Lists what is asked for, until told to stop."""
        loop = asyncio.get_running_loop()
        due = loop.time() + self._every
        while not self.stopping:
            self.touch()
            if loop.time() >= due:
                self._asked.update(dict.fromkeys(self._cache.kinds))
                due = loop.time() + self._every
            if not self._asked:
                await self._wait(min(10.0, due - loop.time()))
                continue
            kind = next(iter(self._asked))
            del self._asked[kind]
            if not await self._list(kind):
                self._asked[kind] = None
                await self.pause(_RETRY_S)

    async def stop(self) -> None:
        """Ends it."""
        self._more.set()
        await super().stop()

    async def _wait(self, seconds: float) -> None:
        self._more.clear()
        try:
            async with asyncio.timeout(max(0.1, seconds)):
                await self._more.wait()
        except TimeoutError:
            return
        await self.pause(_SETTLE_S)

    async def _list(self, kind: str) -> bool:
        try:
            for namespace in self._namespaces:
                await self.sync(kind, namespace)
        except ClusterError as error:
            hint = "; are Laneway's CRDs installed?" if isinstance(error, NotFound) else ""
            if (text := f"{kind}: {type(error).__name__}") != self._said:
                self._said = text
                _log.warning("can't list; it is tried again", kind=kind, error=f"{error}{hint}")
            return False
        self._said = ""
        self._cache.set_synced(kind)
        return True

    async def sync(self, kind: str, namespace: str) -> None:
        """Makes the cache's objects of a kind, in a namespace, those that there are. Raises ClusterError."""
        there: set[ObjectKey] = set()
        version = 0
        async for page, at in self._cluster.pages(kind, namespace, labels=self._selectors.get(kind, "")):
            version = at
            for body in page:
                self._cache.put(body)
                there.add(key_of(body, kind))
            self.touch()
        for key in self._cache.keys(kind):
            if key in there or (namespace and key.namespace != namespace):
                continue
            known = self._cache.get(key)
            if known is not None and version_of(known) <= version:
                _log.info("a deletion was missed", object=str(key))
                self._cache.remove(key, version)
