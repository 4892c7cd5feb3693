"""Every store: what becomes of a submission."""

from __future__ import annotations

import pytest
from tests.contract.stores import Bench, envelope

from laneway.kit.ids import new_task_id, new_task_ids
from laneway.model.config import (
    Keep,
    Kept,
    LaneConfig,
    QueueConfig,
    TenantConfig,
    config_hash,
    encode_config,
)
from laneway.model.states import State

pytestmark = pytest.mark.asyncio


async def codes(bench: Bench, *envelopes: bytes) -> list[str]:
    batch = [(new_task_id(), sent) for sent in envelopes]
    return [result.code for result in await bench.store.submit(batch)]


async def test_a_submitted_task_is_queued_and_can_be_read_back(any_bench: Bench) -> None:
    id = await any_bench.submit(type="mail", payload=b"\x81\xa1a\x01", priority=7, tenant="acme", max_attempts=5)
    view = await any_bench.view(id)
    assert view.state is State.QUEUED
    assert (view.envelope.body.type, view.envelope.body.payload) == ("mail", b"\x81\xa1a\x01")
    assert (view.envelope.priority, view.envelope.tenant, view.envelope.max_attempts) == (7, "acme", 5)
    assert view.envelope.submitted_ms == any_bench.clock.now_ms()
    assert (view.errors, view.result) == ([], None)


async def test_an_unknown_id_reads_as_nothing(bench: Bench) -> None:
    id = await bench.submit()
    views = await bench.store.get([new_task_id(), id])
    assert views[0] is None and views[1] is not None


async def test_the_same_submission_again_is_a_duplicate_and_adds_nothing(any_bench: Bench) -> None:
    id, sent = new_task_id(), envelope()
    first = await any_bench.store.submit([(id, sent)])
    again = await any_bench.store.submit([(id, sent), (id, sent)])
    assert [r.code for r in first + again] == ["accepted", "duplicate", "duplicate"]
    assert {r.id for r in again} == {id}
    assert (await any_bench.store.stats()).counts["submitted"] == 1


async def test_the_same_id_twice_in_one_batch_is_taken_once(bench: Bench) -> None:
    id, sent = new_task_id(), envelope()
    results = await bench.store.submit([(id, sent), (id, sent), (id, envelope(type="other"))])
    assert [r.code for r in results] == ["accepted", "duplicate", "conflict"]


async def test_the_same_id_with_another_envelope_is_a_conflict(bench: Bench) -> None:
    id = await bench.submit(type="a")
    (result,) = await bench.store.submit([(id, envelope(type="b"))])
    assert (result.code, result.id) == ("conflict", id)
    assert (await bench.view(id)).envelope.body.type == "a"


async def test_a_repeat_after_its_lane_got_another_number_is_still_a_duplicate(bench: Bench) -> None:
    id = await bench.submit(lane=1, type="a", delay_ms=5.0)
    (result,) = await bench.store.submit([(id, envelope(lane=2, type="a", delay_ms=5.0))])
    assert result.code == "duplicate"


async def test_a_key_names_one_task_and_a_repeat_gets_the_first_ones_id(any_bench: Bench) -> None:
    first = await any_bench.submit(key="order-1", lane=1, priority=4)
    (again,) = await any_bench.store.submit([(new_task_id(), envelope(key="order-1", priority=9))])
    assert (again.code, again.id) == ("duplicate", first)


async def test_a_key_with_another_payload_is_a_conflict(bench: Bench) -> None:
    first = await bench.submit(key="order-1")
    results = await bench.store.submit(
        [
            (new_task_id(), envelope(key="order-1", payload=b"\x81\xa1a\x02")),
            (new_task_id(), envelope(key="order-1", type="other")),
        ]
    )
    assert [(r.code, r.id) for r in results] == [("conflict", first)] * 2


async def test_keys_are_scoped_to_their_tenant(bench: Bench) -> None:
    assert await codes(
        bench,
        envelope(key="k", tenant="a"),
        envelope(key="k", tenant="b"),
        envelope(key="k"),
        envelope(key="k", tenant="a"),
    ) == ["accepted", "accepted", "accepted", "duplicate"]


async def test_a_key_lives_on_for_its_time_after_the_end_and_is_then_free(bench: Bench) -> None:
    await bench.configure(idem_ms=5000, keep=Kept(ended=Keep(n=100, ms=60_000)))
    id = await bench.submit(key="k")
    await bench.run_to_end(id)
    await bench.advance(4999)
    await bench.store.sweep("", 100)
    assert await codes(bench, envelope(key="k")) == ["duplicate"]
    await bench.advance(1)
    await bench.store.sweep("", 100)
    assert await codes(bench, envelope(key="k")) == ["accepted"]


async def test_a_key_outlives_its_purged_task(bench: Bench) -> None:
    id = await bench.submit(key="k")
    await bench.run_to_end(id)
    assert await bench.store.purge([id]) == 1
    (result,) = await bench.store.submit([(new_task_id(), envelope(key="k"))])
    assert (result.code, result.id) == ("duplicate", id)


async def test_the_end_of_a_replayed_task_leaves_the_key_to_its_new_owner(bench: Bench) -> None:
    await bench.configure(idem_ms=1000)
    old = await bench.submit(key="k")
    await bench.store.cancel([old])
    await bench.advance(1000)
    await bench.store.sweep("", 100)
    new = await bench.submit(key="k")
    assert await bench.store.replay([old]) == ["queued"]
    assert await bench.store.cancel([old]) == ["cancelled"]
    await bench.advance(1000)
    await bench.store.sweep("", 100)
    (result,) = await bench.store.submit([(new_task_id(), envelope(key="k"))])
    assert (result.code, result.id) == ("duplicate", new)


async def test_a_replayed_task_holds_its_key_again(bench: Bench) -> None:
    await bench.configure(idem_ms=1000)
    id = await bench.submit(key="k")
    await bench.store.cancel([id])
    await bench.advance(500)
    assert await bench.store.replay([id]) == ["queued"]
    await bench.advance(5000)
    await bench.store.sweep("", 100)
    assert await codes(bench, envelope(key="k")) == ["duplicate"]


async def test_a_replayed_task_whose_key_was_forgotten_takes_it_again(bench: Bench) -> None:
    await bench.configure(idem_ms=1000)
    id = await bench.submit(key="k")
    await bench.store.cancel([id])
    await bench.advance(1000)
    await bench.store.sweep("", 100)
    assert await bench.store.replay([id]) == ["queued"]
    assert await codes(bench, envelope(key="k")) == ["duplicate"]


@pytest.mark.parametrize("scope", ["queue", "lane", "tenant"])
async def test_a_rate_limit_refuses_and_says_when_to_come_again(bench: Bench, scope: str) -> None:
    limit = {"rate": 10.0, "burst": 2.0}
    await bench.configure(
        lanes=(LaneConfig(n=1, name="default", **(limit if scope == "lane" else {})),),
        tenant=TenantConfig(**(limit if scope == "tenant" else {})),
        **(limit if scope == "queue" else {}),
    )
    results = await bench.store.submit([(id, envelope(tenant="a")) for id in new_task_ids(3)])
    assert [r.code for r in results] == ["accepted", "accepted", "rate"]
    assert (results[2].retry_ms, results[2].scope) == (100, scope)
    await bench.advance(99)
    assert await codes(bench, envelope(tenant="a")) == ["rate"]
    await bench.advance(1)
    assert await codes(bench, envelope(tenant="a"), envelope(tenant="a")) == ["accepted", "rate"]


async def test_a_tenants_rate_is_its_own(bench: Bench) -> None:
    await bench.configure(
        {"vip": TenantConfig(rate=1.0, burst=3.0)}, overrides=True, tenant=TenantConfig(rate=1.0, burst=1.0)
    )
    sent = [envelope(tenant=t) for t in ("a", "a", "b", "vip", "vip", "vip", "vip")]
    assert await codes(bench, *sent) == [
        "accepted", "rate", "accepted", "accepted", "accepted", "accepted", "rate",
    ]  # fmt: skip


async def test_a_refusal_by_one_bucket_takes_nothing_from_the_others(bench: Bench) -> None:
    await bench.configure(rate=1.0, burst=2.0, tenant=TenantConfig(rate=1.0, burst=1.0))
    sent = [envelope(tenant=t) for t in ("a", "a", "a", "b")]
    assert await codes(bench, *sent) == ["accepted", "rate", "rate", "accepted"]


async def test_a_rate_without_a_burst_still_lets_single_tasks_pass(bench: Bench) -> None:
    await bench.configure(rate=10.0)
    assert await codes(bench, envelope(), envelope()) == ["accepted", "rate"]
    await bench.advance(100)
    assert await codes(bench, envelope()) == ["accepted"]


async def test_a_full_queue_refuses_until_there_is_room(bench: Bench) -> None:
    await bench.configure(max_depth=2)
    results = await bench.store.submit(
        [(id, envelope(delay_ms=1000.0 if i else 0.0)) for i, id in enumerate(new_task_ids(3))]
    )
    assert [(r.code, r.scope) for r in results] == [("accepted", ""), ("accepted", ""), ("depth", "2")]
    await bench.claim(await bench.worker())
    assert await codes(bench, envelope()) == ["accepted"]


async def test_an_unknown_lane_is_refused_by_its_number(bench: Bench) -> None:
    (result,) = await bench.store.submit([(new_task_id(), envelope(lane=9))])
    assert (result.code, result.scope) == ("lane", "9")


async def test_a_removed_lane_takes_nothing_new_and_is_worked_off(bench: Bench) -> None:
    both = (LaneConfig(n=1, name="default"), LaneConfig(n=2, name="old"))
    await bench.configure(lanes=both)
    id = await bench.submit(lane=2)
    await bench.configure(lanes=(both[0], LaneConfig(n=2, name="old", gone=True)))
    assert await codes(bench, envelope(lane=2)) == ["lane"]
    assert await bench.claim_ids(await bench.worker()) == [id]


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"\x01\x00\x01\x04",
        b"\x63" + envelope()[1:],
        envelope()[:3] + b"\x0a" + envelope()[4:],
        envelope(tenant="acme")[:9],
        envelope(tenant="a\0b"),
        envelope(delay_ms=float("nan")),
        envelope(at_ms=-5.0),
    ],
    ids=["empty", "short", "schema", "priority", "cut", "zero in tenant", "nan", "negative"],
)
async def test_a_malformed_envelope_is_refused_and_its_neighbours_are_taken(bench: Bench, sent: bytes) -> None:
    assert await codes(bench, envelope(), sent, envelope()) == ["accepted", "malformed", "accepted"]


async def test_an_id_of_the_wrong_length_is_malformed(bench: Bench) -> None:
    (result,) = await bench.store.submit([(b"short", envelope())])
    assert result.code == "malformed"
    assert (await bench.store.stats()).counts["submitted"] == 0


async def test_a_backlog_of_events_slows_submissions_down(bench: Bench) -> None:
    await bench.configure(outbox_soft=1)
    assert await codes(bench, envelope()) == ["accepted"]
    (result,) = await bench.store.submit([(new_task_id(), envelope())])
    assert (result.code, result.retry_ms) == ("backlog", 1000)


async def test_a_delayed_task_is_scheduled_and_a_past_time_means_now(bench: Bench) -> None:
    soon = await bench.submit(delay_ms=1000.0)
    then = await bench.submit(at_ms=float(bench.clock.now_ms() + 2000))
    past = await bench.submit(at_ms=float(bench.clock.now_ms() - 2000))
    assert [await bench.state(id) for id in (soon, then, past)] == [
        State.SCHEDULED,
        State.SCHEDULED,
        State.QUEUED,
    ]


async def test_submitting_wakes_whoever_waits(bench: Bench) -> None:
    await bench.quiet()
    await bench.submit()
    assert await bench.woken()
    assert not await bench.woken()
    await bench.submit(delay_ms=1000.0)
    assert not await bench.woken()
    assert await bench.tend_woken()


async def test_wake_tokens_are_bounded(bench: Bench) -> None:
    await bench.configure(wake_cap=3)
    await bench.quiet()
    await bench.store.submit([(id, envelope()) for id in new_task_ids(10)])
    assert [await bench.woken() for _ in range(4)] == [True, True, True, False]


async def test_a_refused_batch_changes_nothing(bench: Bench) -> None:
    await bench.quiet()
    before = await bench.store.stats()
    await codes(bench, envelope(lane=9), b"", envelope(lane=8))
    after = await bench.store.stats()
    assert (before.counts, before.outbox_entries) == (after.counts, after.outbox_entries)
    assert not await bench.woken()


async def test_configure_is_refused_when_somebody_else_wrote_first(bench: Bench) -> None:
    mine, theirs = QueueConfig(version=2), QueueConfig(version=3)
    before = config_hash(encode_config(await bench.store.config()))
    assert await bench.store.configure(theirs, {}, expected=before)
    assert not await bench.store.configure(mine, {}, expected=before)
    assert await bench.store.config() == theirs
    assert await bench.store.configure(theirs, {}, expected=before)  # the same again is fine
