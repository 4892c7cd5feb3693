"""The election's arithmetic, by a clock of the test: no two processes may write at once, whatever is slow."""

from __future__ import annotations

import asyncio
import contextlib
import copy
from typing import Any, cast

import pytest

from laneway_operator.engine.cluster import Cluster
from laneway_operator.engine.errors import Conflict, NotLeading, Unreachable
from laneway_operator.engine.fence import Fence
from laneway_operator.engine.leader import Elector
from laneway_operator.keys import Body, ObjectKey

DURATION, RENEW, MARGIN, REQUEST = 10.0, 2.0, 4.0, 3.0


class Clock:
    """Seconds that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class OneLease:
    """The API server's Lease. ``away`` makes requests fail; ``lost_answers`` lets writes land without an answer."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.body: Body | None = None
        self.version = 0
        self.away = False
        self.lost_answers = False
        self.takes = 0.0

    async def find(self, key: ObjectKey) -> Body | None:
        self._answer()
        return copy.deepcopy(self.body)

    async def create(self, body: Body) -> Body:
        self._answer()
        if self.body is not None:
            raise Conflict(409, "AlreadyExists", "it exists")
        return self._put(body)

    async def replace(self, body: Body) -> Body:
        self._answer()
        if self.body is None or body["metadata"]["resourceVersion"] != self.body["metadata"]["resourceVersion"]:
            raise Conflict(409, "Conflict", "it is newer")
        return self._put(body)

    def _answer(self) -> None:
        if self.away:
            raise Unreachable(0, "Unreachable", "away")
        self.clock.now += self.takes

    def _put(self, body: Body) -> Body:
        self.version += 1
        self.body = copy.deepcopy(body)
        self.body["metadata"]["resourceVersion"] = str(self.version)
        if self.lost_answers:
            raise Unreachable(0, "Unreachable", "no answer")
        return copy.deepcopy(self.body)

    @property
    def spec(self) -> dict[str, Any]:
        assert self.body is not None
        return dict(self.body["spec"])


class Candidate:
    """One process that takes part."""

    def __init__(self, name: str, lease: OneLease) -> None:
        self.fence = Fence(lease.clock)
        self.terms: list[int] = []
        self.working = False
        self.elector = Elector(
            cast(Cluster, lease), self.fence, self._lead, identity=name, name="l", namespace="ns",
            duration=DURATION, renew=RENEW, margin=MARGIN,
        )  # fmt: skip

    async def _lead(self, epoch: int) -> None:
        self.terms.append(epoch)
        self.working = True
        try:
            await asyncio.Event().wait()
        finally:
            self.working = False

    async def turn(self) -> None:
        """One turn of its loop."""
        with contextlib.suppress(Unreachable):
            await self.elector._attempt()
        await self.elector._follow_fence()
        await asyncio.sleep(0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lease(clock: Clock) -> OneLease:
    return OneLease(clock)


async def test_the_first_makes_the_lease_and_leads_with_epoch_1(lease: OneLease) -> None:
    a = Candidate("a", lease)
    await a.turn()
    assert (a.fence.leading, a.fence.epoch, a.working, a.terms) == (True, 1, True, [1])
    assert (lease.spec["holderIdentity"], lease.spec["leaseTransitions"]) == ("a", 1)


async def test_another_waits_for_as_long_as_the_lease_is_renewed(lease: OneLease, clock: Clock) -> None:
    a, b = Candidate("a", lease), Candidate("b", lease)
    for _ in range(20):
        await a.turn()
        await b.turn()
        clock.now += RENEW
    assert (a.working, b.working, a.terms) == (True, False, [1])


async def test_a_lease_that_is_not_renewed_is_taken_after_its_duration_with_the_next_epoch(
    lease: OneLease, clock: Clock
) -> None:
    a, b = Candidate("a", lease), Candidate("b", lease)
    await a.turn()
    await b.turn()
    clock.now += DURATION - 0.1
    await b.turn()
    assert not b.working
    clock.now += 0.2
    await b.turn()
    assert (b.working, b.fence.epoch, lease.spec["holderIdentity"]) == (True, 2, "b")
    await a.turn()
    assert (a.fence.leading, a.working) == (False, False)


async def test_the_fence_shuts_longer_than_a_request_before_another_can_lead(lease: OneLease, clock: Clock) -> None:
    a, b = Candidate("a", lease), Candidate("b", lease)
    await a.turn()
    await b.turn()
    lease.away = True
    last_write_may_begin = 0.0
    began = clock.now
    while a.fence.leading:
        last_write_may_begin = clock.now
        clock.now += 0.1
        await a.turn()
    lease.away = False
    while not b.fence.leading:
        clock.now += 0.1
        await b.turn()
    assert clock.now - last_write_may_begin > REQUEST
    assert last_write_may_begin - began <= DURATION - MARGIN
    with pytest.raises(NotLeading):
        a.fence.check()
    assert a.fence.refused == 1


async def test_the_time_that_a_renewal_took_is_not_added_to_the_term(lease: OneLease, clock: Clock) -> None:
    a = Candidate("a", lease)
    lease.takes = 2.5
    sent = clock.now + lease.takes  # the read before it takes as long
    await a.turn()
    assert a.fence.remaining == pytest.approx(sent + DURATION - MARGIN - clock.now)


async def test_a_renewal_without_an_answer_keeps_the_lease_but_does_not_open_the_fence(
    lease: OneLease, clock: Clock
) -> None:
    a, b = Candidate("a", lease), Candidate("b", lease)
    await a.turn()
    lease.lost_answers = True
    for _ in range(4):
        clock.now += RENEW
        await a.turn()
        await b.turn()
    assert not a.fence.leading
    assert not b.working
    lease.lost_answers = False
    await a.turn()
    assert (a.fence.leading, a.fence.epoch) == (True, 1)


async def test_a_term_whose_fence_was_shut_for_a_while_is_begun_again(lease: OneLease, clock: Clock) -> None:
    a = Candidate("a", lease)
    await a.turn()
    clock.now += DURATION - MARGIN + 1  # say, its process was stopped; nobody else was there
    assert not a.fence.leading
    await a.turn()
    assert (a.working, a.terms) == (True, [1, 1])


async def test_when_both_see_that_the_lease_has_run_out_only_one_gets_it(lease: OneLease, clock: Clock) -> None:
    a, b, c = Candidate("a", lease), Candidate("b", lease), Candidate("c", lease)
    await a.turn()
    for candidate in (b, c):
        await candidate.turn()
    clock.now += DURATION + 1
    seen = await lease.find(ObjectKey("Lease", "ns", "l"))
    assert seen is not None
    await b.turn()
    c.elector._look_at(seen)
    await c.elector._take(seen, 2)  # as it would with what it read before b wrote
    await c.elector._follow_fence()
    assert (b.working, c.working, lease.spec["holderIdentity"]) == (True, False, "b")


async def test_a_deleted_lease_is_not_made_anew_while_its_last_holder_may_write(lease: OneLease, clock: Clock) -> None:
    a, b = Candidate("a", lease), Candidate("b", lease)
    await a.turn()
    await b.turn()
    lease.body = None
    await b.turn()
    assert (lease.body, b.working) == (None, False)
    clock.now += DURATION
    assert not a.fence.leading
    await b.turn()
    assert b.working


async def test_stopping_shuts_the_fence_and_gives_the_lease_back_at_once(lease: OneLease, clock: Clock) -> None:
    a, b = Candidate("a", lease), Candidate("b", lease)
    await a.turn()
    await b.turn()
    await a.elector.on_stop()
    assert (a.fence.leading, a.working, lease.spec["holderIdentity"]) == (False, False, "")
    await b.turn()
    assert (b.working, b.fence.epoch) == (True, 2)


async def test_who_does_not_lead_leaves_the_lease_alone_when_it_stops(lease: OneLease) -> None:
    a, b = Candidate("a", lease), Candidate("b", lease)
    await a.turn()
    await b.turn()
    await b.elector.on_stop()
    assert lease.spec["holderIdentity"] == "a"


async def test_what_breaks_while_leading_ends_the_leadership(lease: OneLease) -> None:
    async def breaks(epoch: int) -> None:
        raise RuntimeError("a bug")

    a = Candidate("a", lease)
    a.elector._lead = breaks
    await a.turn()
    assert isinstance(a.elector.failure, RuntimeError)
    assert not a.fence.leading
