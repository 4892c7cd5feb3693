"""Every store: promotion, dead letters, purging, statistics, the outbox and its relay."""

from __future__ import annotations

import asyncio

import pytest
from tests.contract.stores import Bench, error

from laneway.kit.ids import new_task_id
from laneway.model.config import Keep, Kept, LaneConfig, TenantConfig
from laneway.model.settlement import Kind, Settlement
from laneway.model.states import State

pytestmark = pytest.mark.asyncio


async def dead(bench: Bench, n: int = 1, **fields: object) -> list[bytes]:
    """Tasks that have failed for good."""
    ids = await bench.submit_many(n, **fields)
    inc = await bench.worker(n)
    for task in await bench.claim(inc, n):
        await bench.settle(inc, task, Kind.DEAD, data=error("old"))
    await bench.store.deregister(inc)
    return ids


# -- promotion


async def test_due_tasks_are_promoted_in_order_of_their_time(any_bench: Bench) -> None:
    bench = any_bench
    late, soon, first = [await bench.submit(delay_ms=d) for d in (300.0, 200.0, 100.0)]
    assert (await bench.store.promote(10)).next_ms == 100
    await bench.advance(250)
    await bench.quiet()
    promoted = await bench.store.promote(10)
    assert (promoted.promoted, promoted.expired, promoted.next_ms) == (2, 0, 50)
    assert await bench.woken()
    assert await bench.claim_ids(await bench.worker(), 10) == [first, soon]
    await bench.advance(50)
    assert (await bench.store.promote(10)).next_ms == -1
    assert await bench.state(late) is State.QUEUED


async def test_promotion_goes_by_pages(bench: Bench) -> None:
    await bench.submit_many(5, delay_ms=10.0)
    await bench.advance(10)
    pages = [(await bench.store.promote(2)) for _ in range(3)]
    assert [page.promoted for page in pages] == [2, 2, 1]
    assert [page.next_ms for page in pages] == [0, 0, -1]


async def test_a_promoted_task_of_a_waiting_tenant_is_parked(bench: Bench) -> None:
    await bench.configure(tenant=TenantConfig(max=1))
    delayed = await bench.submit(tenant="a", delay_ms=10.0)
    await bench.submit_many(2, tenant="a")
    inc = await bench.worker()
    (task,) = await bench.claim(inc, 5)
    await bench.advance(10)
    await bench.store.promote(10)
    assert await bench.state(delayed) is State.PARKED
    await bench.settle(inc, task, Kind.COMPLETE)
    await bench.claim(inc, 5)


async def test_tasks_not_started_in_time_expire_wherever_they_wait(bench: Bench) -> None:
    await bench.configure(tenant=TenantConfig(max=1))
    await bench.submit_many(2, tenant="a")
    inc = await bench.worker()
    (held,) = await bench.claim(inc, 5)
    parked = await bench.submit(tenant="a", start_timeout_ms=100)
    queued = await bench.submit(tenant="b", start_timeout_ms=100)
    scheduled = await bench.submit(delay_ms=5000.0, start_timeout_ms=100)
    assert await bench.state(parked) is State.PARKED
    await bench.advance(99)
    assert (await bench.store.promote(10)).expired == 0
    await bench.advance(1)
    assert (await bench.store.promote(10)).expired == 3
    assert {await bench.state(id) for id in (parked, queued, scheduled)} == {State.EXPIRED}
    await bench.advance(5000)
    assert (await bench.store.promote(10)).promoted == 0
    await bench.settle(inc, held, Kind.COMPLETE)


async def test_a_retry_tells_the_poller(bench: Bench) -> None:
    await bench.submit()
    inc = await bench.worker()
    (task,) = await bench.claim(inc)
    await bench.quiet()
    await bench.settle(inc, task, Kind.RETRY, delay_ms=50.0)
    assert await bench.tend_woken()


# -- dead letters


async def test_a_replayed_dead_letter_runs_anew_and_keeps_its_errors(any_bench: Bench) -> None:
    bench = any_bench
    (id,) = await dead(bench, max_attempts=2)
    await bench.quiet()
    assert await bench.store.replay([id, id]) == ["queued", "queued"]
    assert await bench.woken()
    assert await bench.store.ended(State.DEAD, 0, 10) == []
    inc = await bench.worker()
    (task,) = await bench.claim(inc, 5)
    assert (task.id, task.attempt, task.crashes) == (id, 1, 0)
    assert [e.message for e in (await bench.view(id)).errors] == ["old"]
    await bench.settle(inc, task, Kind.COMPLETE)
    assert (await bench.view(id)).state is State.SUCCEEDED


async def test_what_cannot_be_replayed_says_its_state(bench: Bench) -> None:
    queued = await bench.submit(lane=1, priority=0)
    done = await bench.submit()
    await bench.run_to_end(done)
    scheduled = await bench.submit()
    inc = await bench.worker()
    (task,) = await bench.claim(inc)
    await bench.settle(inc, task, Kind.RETRY, delay_ms=100.0)
    assert await bench.store.replay([queued, done, scheduled, new_task_id()]) == [
        "queued", "succeeded", "scheduled", "unknown",
    ]  # fmt: skip


async def test_cancelled_and_expired_tasks_can_be_replayed(bench: Bench) -> None:
    cancelled, expired = await bench.submit(), await bench.submit(start_timeout_ms=10)
    await bench.store.cancel([cancelled])
    await bench.advance(10)
    await bench.store.promote(10)
    assert await bench.store.replay([cancelled, expired]) == ["queued", "queued"]
    await bench.advance(1000)
    assert (await bench.store.promote(10)).expired == 0  # a replay is somebody's wish: it does not expire again
    assert len(await bench.claim(await bench.worker(), 5)) == 2


async def test_a_replay_into_a_waiting_tenant_is_parked(bench: Bench) -> None:
    (id,) = await dead(bench, tenant="a")
    await bench.configure(tenant=TenantConfig(max=1))
    await bench.submit_many(2, tenant="a")
    await bench.claim(await bench.worker(), 5)
    assert await bench.store.replay([id]) == ["queued"]
    assert await bench.state(id) is State.PARKED


async def test_a_replay_into_a_lane_that_is_gone_is_refused(bench: Bench) -> None:
    await bench.configure(lanes=(LaneConfig(n=1, name="default"), LaneConfig(n=2, name="old")))
    (id,) = await dead(bench, lane=2)
    await bench.configure()
    assert await bench.store.replay([id]) == ["lane removed"]
    assert await bench.state(id) is State.DEAD


async def test_ended_tasks_are_listed_newest_first_by_pages(bench: Bench) -> None:
    ids = []
    for _ in range(5):
        ids += await dead(bench)
        await bench.advance(10)
    newest = ids[::-1]
    assert [id for id, _ in await bench.store.ended(State.DEAD, 0, 2)] == newest[:2]
    assert [id for id, _ in await bench.store.ended(State.DEAD, 2, 10)] == newest[2:]
    assert await bench.store.ended(State.DEAD, 9, 10) == []
    assert await bench.store.ended(State.SUCCEEDED, 0, 10) == []


# -- forgetting


async def test_purged_tasks_are_forgotten_and_counted(any_bench: Bench) -> None:
    bench = any_bench
    gone = await dead(bench, 2)
    kept = await bench.submit()
    assert await bench.store.purge([*gone, gone[0], kept, new_task_id()]) == 2
    assert await bench.store.purge(gone) == 0
    assert await bench.store.get(gone) == [None, None]
    stats = await bench.store.stats()
    assert (stats.counts["purged"], stats.counts["dead"], stats.finished_bytes) == (2, 0, 0)
    assert await bench.state(kept) is State.QUEUED


async def cancelled(bench: Bench, n: int) -> list[bytes]:
    """Tasks that ended one after the other, 10 ms apart."""
    ids = []
    for _ in range(n):
        id = await bench.submit(payload=b"\x81\xa1a\xc4\x64" + b"x" * 100)
        await bench.store.cancel([id])
        await bench.advance(10)
        ids.append(id)
    return ids


async def test_trim_keeps_the_newest_by_count(bench: Bench) -> None:
    await bench.configure(keep=Kept(ended=Keep(n=2, ms=0), dead=Keep(n=1, ms=0)))
    ids = await cancelled(bench, 5)
    letters = await dead(bench, 1)
    await bench.advance(10)
    letters += await dead(bench, 1)
    assert await bench.store.trim(100) == (4, False)
    left = await bench.store.get([*ids, *letters])
    assert [view is not None for view in left] == [False] * 3 + [True] * 2 + [False, True]


async def test_trim_forgets_by_age_page_by_page(bench: Bench) -> None:
    await bench.configure(keep=Kept(ended=Keep(n=100, ms=1000), dead=Keep(n=100, ms=0)))
    await cancelled(bench, 5)
    letter = await dead(bench)
    assert await bench.store.trim(2) == (0, False)
    await bench.advance(970)  # the first three ended 1000 ms ago or longer
    assert await bench.store.trim(2) == (2, True)
    assert (await bench.store.trim(2))[0] == 1
    assert await bench.store.trim(2) == (0, False)
    assert await bench.state(letter[0]) is State.DEAD


async def test_trim_forgets_by_bytes_but_spares_dead_letters(bench: Bench) -> None:
    await bench.configure(keep_bytes=300)
    await cancelled(bench, 5)
    letter = await dead(bench)
    before = (await bench.store.stats()).finished_bytes
    assert before > 500
    purged, _ = await bench.store.trim(2)
    assert purged == 2
    assert (await bench.store.stats()).finished_bytes < before
    for _ in range(5):
        await bench.store.trim(2)
    assert (await bench.store.stats()).finished_bytes <= 300
    assert await bench.state(letter[0]) is State.DEAD


# -- statistics


async def test_statistics_show_every_state(any_bench: Bench) -> None:
    bench = any_bench
    await dead(bench)
    inc = await bench.worker()
    await bench.submit_many(2)
    await bench.claim(inc, 2)
    await bench.submit(delay_ms=100.0)
    await bench.store.cancel([await bench.submit()])
    await bench.submit_many(3)
    counts = (await bench.store.stats()).counts
    assert {name: n for name, n in counts.items() if n} == {
        "submitted": 8, "queued": 3, "scheduled": 1, "running": 2, "dead": 1, "cancelled": 1,
    }  # fmt: skip
    assert set(counts) == {"submitted", "purged", *(state.label for state in State)}


async def test_lanes_show_what_waits_and_runs_in_them(bench: Bench) -> None:
    await bench.configure(lanes=(LaneConfig(n=1, name="high"), LaneConfig(n=2, name="low")))
    await bench.submit_many(2, lane=1)
    await bench.submit(lane=2)
    await bench.claim(await bench.worker(), 3)
    oldest = await bench.submit(lane=2)
    await bench.submit(lane=2)
    lanes = (await bench.store.stats()).lanes
    age = bench.clock.now_ms() - int.from_bytes(oldest[:6], "big")
    assert [(lane.name, lane.queued, lane.running, lane.oldest_ms) for lane in lanes] == [
        ("high", 0, 2, -1),
        ("low", 2, 1, age),
    ]


# -- the outbox


async def test_every_transition_is_told_in_order(any_bench: Bench) -> None:
    bench = any_bench
    id = await bench.submit(max_attempts=2)
    inc = await bench.worker()
    for kind in (Kind.SNOOZE, Kind.RELEASE, Kind.RETRY, Kind.RETRY):
        (task,) = await bench.claim(inc)
        await bench.settle(inc, task, kind)
        await bench.store.promote(10)
    await bench.store.replay([id])
    await bench.claim(inc)
    await bench.reap_after_grace()
    await bench.store.cancel([id])
    assert await bench.events() == [
        (kind, id)
        for kind in (
            "submitted", "snoozed", "released", "retried", "dead", "replayed", "crashed", "cancelled",
        )
    ]  # fmt: skip


async def test_one_call_makes_one_entry_per_kind(bench: Bench) -> None:
    ids = await bench.submit_many(3)
    entries, gap = await bench.store.outbox(100)
    assert (len(entries), gap) == (3, 0)
    inc = await bench.worker()
    tasks = await bench.claim(inc, 3)
    kinds = (Kind.COMPLETE, Kind.DEAD, Kind.COMPLETE)
    await bench.store.settle(inc, [Settlement(k, t.id, t.fence) for k, t in zip(kinds, tasks, strict=True)])
    entries, _ = await bench.store.outbox(100)
    assert [(e.kind, e.groups, e.at_ms) for e in entries[3:]] == [
        ("succeeded", [(1, 1, [ids[0], ids[2]])], bench.clock.now_ms()),
        ("dead", [(1, 1, [ids[1]])], bench.clock.now_ms()),
    ]
    assert len((await bench.store.outbox(2))[0]) == 2


async def test_events_of_one_call_stand_together_by_lane_and_attempts(bench: Bench) -> None:
    await bench.submit_many(2)
    inc = await bench.worker()
    first = await bench.claim(inc, 1)
    await bench.settle(inc, first[0], Kind.RETRY)
    await bench.advance(1)
    await bench.store.promote(100)
    tasks = await bench.claim(inc, 2)
    await bench.store.settle(inc, [Settlement(Kind.COMPLETE, t.id, t.fence) for t in tasks])
    entry = (await bench.store.outbox(100))[0][-1]
    assert entry.kind == "succeeded"
    assert sorted(entry.groups) == sorted((1, t.attempt, [t.id]) for t in tasks)
    assert sorted(t.attempt for t in tasks) == [1, 2]


async def test_only_the_relay_with_the_lease_removes_entries(any_bench: Bench) -> None:
    store = any_bench.store
    await any_bench.submit_many(2)
    entries, _ = await store.outbox(1)
    assert await store.relayed("one", entries, 0) == -1
    assert await store.lease_relay("one", 60_000)
    assert await store.lease_relay("one", 60_000)
    assert not await store.lease_relay("two", 60_000)
    assert await store.relayed("two", entries, 0) == -1
    assert await store.relayed("one", entries, 0) == 1
    assert await store.relayed("one", entries, 0) == 0
    left, _ = await store.outbox(10)
    stats = await store.stats()
    assert (len(left), stats.outbox_entries, stats.outbox_bytes) == (1, 1, left[0].size)
    assert not await store.lease_relay("one", 0)
    assert await store.lease_relay("two", 60_000)
    assert await store.relayed("two", left, 0) == 1
    stats = await store.stats()
    assert (stats.outbox_entries, stats.outbox_bytes) == (0, 0)


async def test_a_full_outbox_drops_events_into_a_gap_but_never_dead_letters(bench: Bench) -> None:
    ids = await bench.submit_many(2)
    await bench.configure(outbox_hard=1)
    inc = await bench.worker()
    tasks = await bench.claim(inc, 2)
    await bench.settle(inc, tasks[0], Kind.COMPLETE)
    await bench.settle(inc, tasks[1], Kind.DEAD)
    assert (await bench.events())[2:] == [("dead", ids[1])]
    entries, gap = await bench.store.outbox(10)
    assert gap == 1
    await bench.store.lease_relay("one", 60_000)
    await bench.store.relayed("one", entries, gap)
    assert (await bench.store.outbox(10)) == ([], 0)


async def test_ends_are_announced_to_who_listens(bench: Bench) -> None:
    id = await bench.submit()
    inc = await bench.worker()
    (task,) = await bench.claim(inc)
    feed = bench.store.done_feed()
    heard = asyncio.ensure_future(anext(feed))
    channel = getattr(getattr(bench.store, "keys", None), "done_channel", None)
    while channel and not (await bench.store._client.pubsub_numsub(channel))[0][1]:  # type: ignore[attr-defined]  # noqa: ASYNC110
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    await bench.settle(inc, task, Kind.COMPLETE)
    assert await heard == (id, State.SUCCEEDED)
    await feed.aclose()  # type: ignore[attr-defined]


async def test_the_log_without_kafka_takes_records(bench: Bench) -> None:
    await bench.store.append_log("events", [b"a", b"b"], 100)
    await bench.store.append_log("dead", [b"c"], 100)
