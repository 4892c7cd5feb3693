"""The queue of work: which objects need a pass, and the loops that run the passes."""

from __future__ import annotations

import asyncio
import heapq
import random
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from typing import Protocol

from laneway.kit.logs import get_logger
from laneway_operator.engine.errors import ClusterError, NotLeading
from laneway_operator.keys import ObjectKey

_log = get_logger(__name__)

#: A pass: looks at one object and does what is wanting. Returns in how many seconds to look again (None: only
#: when woken). What it raises is logged and counted, and it is tried again after a growing pause.
Pass = Callable[[ObjectKey], Awaitable[float | None]]

FIRST_BACKOFF_S = 1.0
LONGEST_BACKOFF_S = 60.0
#: So long what a timer woke gives way to what events woke.
PATIENCE_S = 10.0
#: A pass that runs longer (s) gives its place back: it waits for something, and others need not.
LINGERS_S = 0.5
#: Passes that linger, as multiples of ``concurrency``: of one namespace, and passes of any kind in all.
_LINGERING = 4
_IN_ALL = 16


class PassObserver(Protocol):
    """Is told of each pass that ended: ``result`` is done, failed, timeout or fenced."""

    def __call__(self, kind: str, result: str, seconds: float) -> None: ...


def _unobserved(kind: str, result: str, seconds: float) -> None:
    return None


class WorkQueue:
    """Keys that wait for a pass: each at most once, at most one pass per key at a time, ``concurrency`` at once.

    A pass that takes longer than half a second waits for something, mostly for a server of somebody's that hangs: it
    gives its place to the next. Of each namespace only so many (four times ``concurrency``) may linger like that before
    its other keys have to wait, so that no tenant's servers keep the passes of others waiting.

    A key that is woken during its own pass gets another one after it. What events woke goes before what only
    a timer woke; once the latter has waited for 10 s, every fourth pass is for it, so that neither starves.
    Nothing starts before :meth:`run`, or while it is not called; keys are kept.
    """

    def __init__(
        self,
        passes: dict[str, Pass],
        *,
        concurrency: int = 16,
        pass_timeout: float = 60.0,
        observe: PassObserver = _unobserved,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._passes = passes
        self._concurrency = concurrency
        self._pass_timeout = pass_timeout
        self._observe = observe
        self._jitter = jitter
        self._woken: OrderedDict[ObjectKey, float] = OrderedDict()
        self._timed: OrderedDict[ObjectKey, float] = OrderedDict()
        self._running: set[ObjectKey] = set()
        self._again: set[ObjectKey] = set()
        self._due: dict[ObjectKey, float] = {}
        self._heap: list[tuple[float, ObjectKey]] = []
        self._failures: dict[ObjectKey, int] = {}
        self._more = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._lingering: set[ObjectKey] = set()
        self._lingering_in: Counter[str] = Counter()
        self._taken = 0
        self._accepting = True
        self.on_progress: Callable[[], None] = lambda: None
        """Called when a pass ends."""

    # ------------------------------------------------------------------------------------------- adding

    def wake(self, key: ObjectKey) -> None:
        """Something changed: a pass for ``key``, as soon as there is room."""
        if key.kind not in self._passes:
            raise KeyError(f"no pass for {key.kind}; there are passes for {', '.join(self._passes)}")
        if key in self._running:
            self._again.add(key)
            return
        self._due.pop(key, None)
        since = self._timed.pop(key, None)
        self._woken.setdefault(key, since if since is not None else self._now())
        self._notify()

    def wake_after(self, key: ObjectKey, seconds: float) -> None:
        """A pass for ``key`` in so many seconds, unless one comes before; the earliest such call wins."""
        if key in self._woken or key in self._timed:
            return
        due = self._now() + max(0.0, seconds)
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            heapq.heappush(self._heap, (due, key))
            self._notify()

    def forget(self, key: ObjectKey) -> None:
        """The object is gone: no pass for it any more but the one that runs."""
        self._woken.pop(key, None)
        self._timed.pop(key, None)
        self._due.pop(key, None)
        self._again.discard(key)
        self._failures.pop(key, None)

    def clear(self) -> None:
        """Forgets all keys."""
        for keys in (self._woken, self._timed, self._due, self._again, self._failures):
            keys.clear()
        self._heap.clear()

    # ------------------------------------------------------------------------------------------- looking

    @property
    def depth(self) -> int:
        """How many keys could have a pass now and have none yet."""
        return len(self._woken) + len(self._timed)

    @property
    def running(self) -> int:
        """How many passes run."""
        return len(self._running)

    @property
    def oldest(self) -> float:
        """For how many seconds the first of the waiting keys has waited; 0 when none does."""
        heads = [next(iter(keys.values())) for keys in (self._woken, self._timed) if keys]
        return max(0.0, self._now() - min(heads)) if heads else 0.0

    # ------------------------------------------------------------------------------------------- running

    async def run(self) -> None:
        """Runs passes until cancelled (which cancels the passes as well) or told to :meth:`finish`. May be called
        again, for the next term, but not after ``finish``: then it returns at once."""
        try:
            while self._accepting:
                await self._wait_for_room()
                self._ripen()
                while self._has_room() and (key := self._take()) is not None:
                    self._begin(key)
        finally:
            tasks = list(self._tasks)
            if self._accepting:  # so it was cancelled
                for task in tasks:
                    task.cancel()
            if tasks:
                await asyncio.wait(tasks)

    async def finish(self, grace: float) -> bool:
        """Begins no pass any more, waits up to ``grace`` seconds for those that run, and cancels the rest.
        Returns whether all ended by themselves."""
        self._accepting = False
        self._notify()
        tasks = list(self._tasks)
        late: set[asyncio.Task[None]] = set()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)
        return not late

    async def _wait_for_room(self) -> None:
        """Returns when a pass could begin, or :meth:`finish` was called."""
        while self._accepting:
            self._more.clear()
            room = self._has_room()
            wait = self._until_ripe()
            if room and (self._first(self._woken, self._timed) or (wait is not None and wait <= 0)):
                return
            try:
                async with asyncio.timeout(wait if room else None):
                    await self._more.wait()
            except TimeoutError:
                continue

    def _has_room(self) -> bool:
        running = len(self._tasks)
        return (
            self._accepting
            and running - len(self._lingering) < self._concurrency
            and running < self._concurrency * _IN_ALL
        )

    def _until_ripe(self) -> float | None:
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] - self._now() if self._heap else None

    def _ripen(self) -> None:
        while (wait := self._until_ripe()) is not None and wait <= 0:
            due, key = heapq.heappop(self._heap)
            del self._due[key]
            if key in self._running:
                self._again.add(key)
            elif key not in self._woken:
                self._timed.setdefault(key, due)

    def _take(self) -> ObjectKey | None:
        self._taken += 1
        late = bool(self._timed) and self._now() - next(iter(self._timed.values())) > PATIENCE_S
        first, second = (self._timed, self._woken) if late and self._taken % 4 == 0 else (self._woken, self._timed)
        key = self._first(first, second)
        if key is not None:
            first.pop(key, None)
            second.pop(key, None)
        return key

    def _first(self, *waiting: OrderedDict[ObjectKey, float]) -> ObjectKey | None:
        """The first key whose namespace has not too many lingering passes already."""
        most = self._concurrency * _LINGERING
        return next((key for keys in waiting for key in keys if self._lingering_in[key.namespace] < most), None)

    def _begin(self, key: ObjectKey) -> None:
        self._running.add(key)
        self._due.pop(key, None)
        task = asyncio.create_task(self._one(key), name=f"pass for {key}")
        self._tasks.add(task)
        lingers = asyncio.get_running_loop().call_later(LINGERS_S, self._give_way, key)

        def ended(task: asyncio.Task[None]) -> None:
            lingers.cancel()
            self._tasks.discard(task)
            if key in self._lingering:
                self._lingering.discard(key)
                self._lingering_in[key.namespace] -= 1
                self._lingering_in += Counter()  # drops namespaces that have none
            self._notify()

        task.add_done_callback(ended)

    def _give_way(self, key: ObjectKey) -> None:
        self._lingering.add(key)
        self._lingering_in[key.namespace] += 1
        self._notify()

    async def _one(self, key: ObjectKey) -> None:
        began = self._now()
        result, after = "cancelled", None
        limit = asyncio.timeout(self._pass_timeout)
        try:
            async with limit:
                after = await self._passes[key.kind](key)
            result = "done"
            self._failures.pop(key, None)
        except NotLeading:
            # Whoever leads now looks at all objects anyway; but that may be this process again, whose lease was
            # renewed late. Where it is not, the key is forgotten with the rest.
            result, after = "fenced", FIRST_BACKOFF_S
        except Exception as error:
            result, after = "timeout" if limit.expired() else "failed", self._backoff(key)
            self._tell(key, result, error, after)
        finally:
            self._running.remove(key)
            self._observe(key.kind, result, self._now() - began)
            self.on_progress()
            self._requeue(key, after)

    def _tell(self, key: ObjectKey, result: str, error: Exception, after: float) -> None:
        said = {"object": str(key), "again_in": round(after, 1), "failures": self._failures[key]}
        if result == "timeout":
            _log.error("pass took too long; it is tried again", allowed=self._pass_timeout, **said)
        elif isinstance(error, ClusterError):  # the API server's answer says it all
            _log.warning("pass failed; it is tried again", error=str(error), **said)
        else:
            _log.error("pass failed; it is tried again", error=str(error), exc_info=True, **said)

    def _requeue(self, key: ObjectKey, after: float | None) -> None:
        if key in self._again:
            self._again.discard(key)
            self.wake(key)
        elif after is not None:
            # A tenth earlier at most, so that what began together does not stay together.
            self.wake_after(key, after * (1.0 - self._jitter() / 10))

    def _backoff(self, key: ObjectKey) -> float:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        return float(min(FIRST_BACKOFF_S * 2 ** min(failures - 1, 16), LONGEST_BACKOFF_S))

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _notify(self) -> None:
        self._more.set()
