"""Leader election by a Lease, with fencing.

The times hang together like this, all by each process's own clock (which goes on through suspensions). The
leader renews every 2 s, and may begin writes until 6 s after it *sent* its last successful renewal (duration
10 s less margin 4 s). Another process takes the Lease once it has *seen* no change of it for 10 s, so not
before 10 s after that renewal. A write takes at most 3 s, so the last one ends 9 s after it at the latest.

What no client can close is the moment between the fence's answer and the system call that sends: a process
stopped right there sends its one request when it goes on. It holds what a pass of an earlier state wanted, and
the next pass of the new leader puts it right; epochs in what is written to Redis tell the two apart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from laneway.kit.health import Health
from laneway.kit.logs import get_logger
from laneway.kit.service import Service
from laneway_operator.engine.cluster import Cluster
from laneway_operator.engine.errors import ClusterError, Conflict, Forbidden
from laneway_operator.engine.fence import Fence
from laneway_operator.keys import Body, ObjectKey

_log = get_logger(__name__)

#: Runs while this process leads; cancelled when it does not any more. Its argument is the epoch.
Lead = Callable[[int], Awaitable[None]]

_RELEASED_S = 1


class Elector(Service):
    """Takes part in the election, runs ``lead`` while this process leads, and opens and shuts the ``fence``.

    ``cluster`` is for the Lease alone and not fenced itself, so that renewals wait for nothing else.
    """

    def __init__(
        self,
        cluster: Cluster,
        fence: Fence,
        lead: Lead,
        *,
        identity: str,
        name: str,
        namespace: str,
        duration: float = 10.0,
        renew: float = 2.0,
        margin: float = 4.0,
        health: Health | None = None,
    ) -> None:
        super().__init__("elector", health=health, allowed_silence=max(30.0, 3 * duration), grace=1.0)
        self._cluster = cluster
        self._fence = fence
        self._lead = lead
        self._identity = identity
        self._key = ObjectKey("Lease", namespace, name)
        self._duration = duration
        self._renew = renew
        self._margin = margin
        self._lease: Body | None = None
        self._seen_at = float("-inf")
        """When the Lease was last seen changed, by the fence's clock."""
        self._answered_at = float("-inf")
        self._term: asyncio.Task[None] | None = None
        self._said = ""
        self._lapsed = False
        """Whether the fence was shut for a while during this term: passes and wakes of that time are lost."""
        self.failure: BaseException | None = None
        """What ``lead`` raised: a bug, after which this process leads no more."""

    @property
    def holder(self) -> str:
        """Who holds the Lease, as far as is known; "" for nobody."""
        return _holder(self._lease)

    @property
    def silence(self) -> float:
        """Seconds since the API server last answered about the Lease; inf if it never did."""
        return self._fence.clock() - self._answered_at

    async def run(self) -> None:
        """Tries to lead, or to go on leading, until told to stop."""
        while not self.stopping and self.failure is None:
            try:
                await self._attempt()
                self._said = ""
            except ClusterError as error:
                self._complain(error)
            await self._follow_fence()
            self.touch()
            if not await self.pause(self._until_next()):
                return
        if self.failure is not None:
            raise RuntimeError("what runs while leading broke") from self.failure

    async def on_stop(self) -> None:
        """Ends the leadership and gives the Lease back, so that another can lead at once."""
        self._fence.shut()
        await self._end_term()
        if self._lease is None or self.holder != self._identity:
            return
        spec = {**self._lease["spec"], "holderIdentity": "", "leaseDurationSeconds": _RELEASED_S, "renewTime": _now()}
        try:
            await self._cluster.replace({**self._lease, "spec": spec})
            _log.info("gave the lease back", lease=str(self._key), identity=self._identity)
        except ClusterError as error:
            _log.warning("could not give the lease back; it runs out", lease=str(self._key), error=str(error))

    # ------------------------------------------------------------------------------------------- the Lease

    async def _attempt(self) -> None:
        if self._lease is not None and self.holder == self._identity:
            try:
                await self._take(self._lease, self._lease["spec"].get("leaseTransitions", 0))
                return
            except Conflict:
                self._lease = None  # somebody wrote it: look who
        lease = await self._cluster.find(self._key)
        self._answered_at = self._fence.clock()
        if lease is None:
            await self._create()
            return
        self._look_at(lease)
        if self.holder == self._identity:  # a renewal of ours that had no answer was made after all
            await self._take(lease, lease["spec"].get("leaseTransitions", 0))
        elif not self.holder or self._run_out(lease):
            await self._take(lease, lease["spec"].get("leaseTransitions", 0) + 1)

    def _look_at(self, lease: Body) -> None:
        old = self._lease["metadata"]["resourceVersion"] if self._lease is not None else ""
        if lease["metadata"]["resourceVersion"] != old:
            if _holder(lease) not in (self.holder, self._identity) and _holder(lease):
                _log.info("another leads", lease=str(self._key), leader=_holder(lease))
            self._seen_at = self._fence.clock()
        self._lease = lease

    def _run_out(self, lease: Body) -> bool:
        said = float(lease["spec"].get("leaseDurationSeconds") or self._duration)
        return self._fence.clock() - self._seen_at >= max(said, self._duration)

    async def _create(self) -> None:
        # A Lease that was there and was deleted: its holder goes on until its fence shuts.
        if self._lease is not None and self.holder != self._identity and not self._run_out(self._lease):
            return
        sent = self._fence.clock()
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._key.name, "namespace": self._key.namespace},
            "spec": self._spec({}, 1),
        }
        try:
            self._lease = await self._cluster.create(lease)
        except Conflict:
            return  # another was quicker; the next attempt sees it
        self._won(sent, 1)

    async def _take(self, lease: Body, epoch: int) -> None:
        sent = self._fence.clock()
        body = {**lease, "apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
        try:
            self._lease = await self._cluster.replace({**body, "spec": self._spec(lease["spec"], epoch)})
        except Conflict:
            if self.holder == self._identity:
                raise
            return  # another was quicker
        self._won(sent, epoch)

    def _won(self, sent: float, epoch: int) -> None:
        self._answered_at = self._seen_at = self._fence.clock()
        self._lapsed = self._lapsed or (self._term is not None and not self._fence.leading)
        self._fence.open(epoch, sent + self._duration - self._margin)

    def _spec(self, old: Body, epoch: int) -> Body:
        now = _now()
        began = old.get("acquireTime") if old.get("holderIdentity") == self._identity else None
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": max(1, round(self._duration)),
            "acquireTime": began or now,
            "renewTime": now,
            "leaseTransitions": epoch,
        }

    # ------------------------------------------------------------------------------------------- the term

    async def _follow_fence(self) -> None:
        """Begins a term when the fence is open, and ends it when it is shut or the Lease is another's."""
        if self.holder != self._identity:
            self._fence.shut()
        leads = self._fence.leading
        if leads and self._lapsed:
            _log.info("begins again: the lease was renewed late", lease=str(self._key), epoch=self._fence.epoch)
            await self._end_term()
        if leads and self._term is None:
            _log.info("leads", lease=str(self._key), identity=self._identity, epoch=self._fence.epoch)
            self._term = asyncio.create_task(self._run_term(self._fence.epoch), name="term")
        elif not leads and self._term is not None:
            _log.warning("leads no more", lease=str(self._key), identity=self._identity, leader=self.holder)
            await self._end_term()

    async def _run_term(self, epoch: int) -> None:
        try:
            await self._lead(epoch)
        except Exception as error:
            _log.exception("what runs while leading broke", epoch=epoch)
            self.failure = error
            self._fence.shut()

    async def _end_term(self) -> None:
        term, self._term = self._term, None
        self._lapsed = False
        if term is not None:
            term.cancel()
            await asyncio.wait({term})

    def _until_next(self) -> float:
        if self._lease is None or self.holder in ("", self._identity):
            return self._renew
        left = self._seen_at + self._duration - self._fence.clock()
        return min(self._renew, max(0.05, left))

    def _complain(self, error: ClusterError) -> None:
        text = f"{type(error).__name__}: {error}"
        kind = "forbidden" if isinstance(error, Forbidden) else type(error).__name__
        if kind != self._said:
            self._said = kind
            _log.warning("no answer about the lease", lease=str(self._key), error=text)


def _holder(lease: Body | None) -> str:
    return str(lease.get("spec", {}).get("holderIdentity") or "") if lease is not None else ""


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
