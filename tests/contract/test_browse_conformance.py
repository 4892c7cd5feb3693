"""Every store: lists by filter and order, page by page, in the same order from memory and from Redis."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from tests.contract.stores import Bench, error

from laneway.kit.ids import id_text, new_task_id
from laneway.model.config import LaneConfig, TenantConfig
from laneway.model.envelope import Body, Envelope, encode_envelope
from laneway.model.settlement import Kind
from laneway.model.states import FINAL, State
from laneway.policy.filters import parse_filter
from laneway.policy.listing import sort_of
from laneway.ports.actions import Revision
from laneway.ports.browse import Filter, Position, Sort, TaskRow

pytestmark = pytest.mark.asyncio

LANES = (LaneConfig(n=1, name="high"), LaneConfig(n=2, name="default"), LaneConfig(n=3, name="low"))


async def rows(bench: Bench, limit: int = 100, sort: str = "", budget: float = 5.0, **given: Any) -> list[TaskRow]:
    """The whole of a list, by pages of ``limit``."""
    wanted = parse_filter(given)
    found: list[TaskRow] = []
    after: Position | None = None
    for _ in range(500):
        page = await bench.store.browse.page(wanted, sort_of(sort, wanted), limit, after, budget=budget)
        assert len(page.rows) <= limit
        found += page.rows
        after = page.after
        if after is None:
            return found
    raise AssertionError("a list without an end")


async def ids(bench: Bench, *args: Any, **given: Any) -> list[bytes]:
    return [row.id for row in await rows(bench, *args, **given)]


async def send(bench: Bench, **fields: Any) -> bytes:
    """Submits one task whose body has all that a filter may look at."""
    id = new_task_id()
    body = Body(fields.pop("type", "t"), fields.pop("payload", b"\x80"), labels=fields.pop("labels", None))
    env = Envelope(fields.pop("lane", 1), fields.pop("priority", 4), 3, fields.pop("tenant", ""), body, **fields)
    (result,) = await bench.store.submit([(id, encode_envelope(env, compress_over=1000))])
    assert result.code == "accepted"
    return id


async def end(bench: Bench, n: int, kind: Kind = Kind.DEAD, message: str = "boom", **fields: Any) -> list[bytes]:
    """Tasks that a worker has taken and settled, one after the other."""
    made = []
    inc = await bench.worker(n)
    for _ in range(n):
        made.append(await send(bench, **fields))
        (task,) = await bench.claim(inc)
        await bench.settle(inc, task, kind, data=None if kind is Kind.COMPLETE else error(message))
        await bench.advance(5)
    await bench.store.deregister(inc)
    return made


async def test_all_states_come_in_order_each_task_once_whatever_the_page(any_bench: Bench) -> None:
    bench = any_bench
    await bench.configure(lanes=LANES, tenant=TenantConfig(max=1))
    dead = await end(bench, 3)
    done = await end(bench, 2, Kind.COMPLETE)
    inc = await bench.worker(5)
    running = await send(bench, priority=9, tenant="a")
    assert await bench.claim_ids(inc, 1) == [running]
    parked = [await send(bench, tenant="a", lane=3), await send(bench, tenant="a", lane=1)]
    assert await bench.claim_ids(inc, 5) == []
    low, high = await send(bench, lane=3), await send(bench, lane=1)
    later, soon = await send(bench, delay_ms=9000.0), await send(bench, delay_ms=500.0)
    wanted = [running, high, low, parked[1], parked[0], soon, later, *dead[::-1], *done[::-1]]
    for limit in (1, 2, 3, 100):
        assert await ids(bench, limit) == wanted
    assert await ids(bench, 2, budget=0.0) == wanted
    assert await bench.store.browse.count(Filter()) == len(wanted)
    states = await bench.store.browse.states([*wanted, new_task_id()])
    assert states == [row.state if row else None for row in await bench.store.browse.rows([*wanted, new_task_id()])]
    assert states == [
        *[State.RUNNING], *[State.QUEUED] * 2, *[State.PARKED] * 2, *[State.SCHEDULED] * 2, *[State.DEAD] * 3,
        *[State.SUCCEEDED] * 2, None,
    ]  # fmt: skip


async def test_what_waits_in_lanes_comes_in_the_order_in_which_it_would_run(bench: Bench) -> None:
    await bench.configure(lanes=LANES)
    for n in range(30):
        await send(bench, lane=1 + n % 3, priority=n % 10, tenant="ab"[n % 2])
    listed = await ids(bench, 7, sort="next", state="queued")
    inc = await bench.worker(30)
    assert listed == [id for _ in range(30) for id in await bench.claim_ids(inc, 1)]
    assert await ids(bench, sort="next", state="queued") == []


async def test_a_row_has_what_a_list_shows(bench: Bench) -> None:
    await bench.configure(lanes=LANES)
    inc = await bench.worker(1, name="mover")
    id = await send(bench, type="mail.send", lane=2, priority=7, tenant="a", labels={"shop": "north"})
    (task,) = await bench.claim(inc)
    (row,) = await rows(bench)
    assert (row.id, row.state, row.worker, row.lane, row.priority) == (id, State.RUNNING, "mover", 2, 7)
    assert (row.envelope.body.type, row.envelope.body.labels, row.envelope.tenant) == (
        "mail.send", {"shop": "north"}, "a",
    )  # fmt: skip
    await bench.settle(inc, task, Kind.RETRY, delay_ms=700.0, data=error("first"))
    (row,) = await rows(bench)
    assert (row.state, row.worker, [e.message for e in row.errors]) == (State.SCHEDULED, None, ["first"])
    assert row.due_ms == bench.clock.now_ms() + 700
    assert (await bench.store.browse.rows([id])) == [row]
    assert row.ended_ms == 0


async def test_only_the_last_error_comes_unless_the_filter_looks_at_errors(bench: Bench) -> None:
    id = await send(bench)
    inc = await bench.worker(1)
    for n in range(3):
        (task,) = await bench.claim(inc)
        await bench.settle(inc, task, Kind.RETRY, delay_ms=0.0, data=error(f"number {n}"))
        await bench.store.promote(10)
    assert [e.message for e in (await rows(bench))[0].errors] == ["number 2"]
    everything = ["number 0", "number 1", "number 2"]
    assert [e.message for e in (await rows(bench, error="NUMBER 1"))[0].errors] == everything
    (row,) = await bench.store.browse.rows([id])
    assert row is not None and [e.message for e in row.errors] == everything


@pytest.mark.parametrize("size", [10, 300, 5000, 70_000])
async def test_a_payload_of_any_size_hides_nothing_else(bench: Bench, size: int) -> None:
    payload = b"\x81\xa1k\xc6" + size.to_bytes(4, "big") + bytes(range(256)) * (size // 256) + bytes(size % 256)
    id = await send(bench, payload=payload, type="large", labels={"a": "b"}, tenant="x", delay_ms=100.0)
    cases: tuple[dict[str, Any], ...] = ({}, {"type": "large"}, {"label": "a:b"}, {"tenant": "x"})
    for given in cases:
        (row,) = await rows(bench, **given)
        assert (row.id, row.envelope.body.type, row.envelope.body.labels) == (id, "large", {"a": "b"})
        assert len(row.envelope.body.payload) <= 400


FILTERS: list[tuple[dict[str, Any], set[str]]] = [
    ({"type": "mail"}, {"m1", "m2"}),
    ({"type": "mail,pay"}, {"m1", "m2", "p1"}),
    ({"type": ["with,comma"]}, {"c1"}),
    ({"type": "with\\,comma"}, {"c1"}),
    ({"type": "none"}, set()),
    ({"lane": "high"}, {"m1", "p1"}),
    ({"lane": "high,low"}, {"m1", "p1", "c1"}),
    ({"tenant": "a"}, {"m1", "c1"}),
    ({"tenant": ""}, {"m2"}),
    ({"tenant": ",a"}, {"m1", "m2", "c1"}),
    ({"label": "shop:north"}, {"m1", "m2"}),
    ({"label": ["shop:north", "size:xl"]}, {"m2"}),
    ({"label": {"shop": "south"}}, {"p1"}),
    ({"label": "sh:op"}, set()),
    ({"type": "mail", "tenant": "a", "lane": "high", "label": "shop:north"}, {"m1"}),
]


@pytest.mark.parametrize("waits", [True, False], ids=["waiting", "ended"])
@pytest.mark.parametrize(("given", "wanted"), FILTERS, ids=[str(given) for given, _ in FILTERS])
async def test_a_filter_lets_through_what_it_says(
    bench: Bench, given: dict[str, Any], wanted: set[str], waits: bool
) -> None:
    await bench.configure(lanes=LANES)
    sent = {
        "m1": {"type": "mail", "lane": 1, "tenant": "a", "labels": {"shop": "north"}},
        "m2": {"type": "mail", "lane": 2, "labels": {"shop": "north", "size": "xl"}, "idempotency_key": "k"},
        "p1": {"type": "pay", "lane": 1, "tenant": "b", "labels": {"shop": "south"}, "start_timeout_ms": 9000},
        "c1": {"type": "with,comma", "lane": 3, "tenant": "a", "payload": b"\x81\xa4shop\xa5north"},
    }
    names = {await send(bench, **fields): name for name, fields in sent.items()}
    if not waits:
        await bench.store.cancel(list(names))
    for limit in (1, 50):
        assert {names[id] for id in await ids(bench, limit, **given)} == wanted
    everything = await bench.store.browse.page(parse_filter(given), Sort.STATES, 50, budget=5.0)
    assert everything.after is None


async def test_times_bound_a_list_from_the_first_on_and_before_the_last(bench: Bench) -> None:
    start = bench.clock.now_ms()
    dead = await end(bench, 4)  # made and ended at start, + 5, + 10, + 15

    def at(ms: int) -> str:
        from datetime import UTC, datetime

        return datetime.fromtimestamp((start + ms) / 1000, UTC).isoformat()

    waiting = await send(bench)
    for sort in ("", "ended", "-ended"):
        listed = await ids(bench, 1, sort=sort, state="dead,succeeded", endedFrom=at(5), endedTo=at(15))
        assert listed == (dead[1:3] if sort == "ended" else dead[2:0:-1])
    assert await ids(bench, endedFrom=at(0)) == dead[::-1]
    assert await ids(bench, createdFrom=at(15)) == [waiting, dead[3]]
    assert await ids(bench, createdTo=at(10)) == dead[1::-1]
    assert await ids(bench, createdFrom=at(5), createdTo=at(6)) == [dead[1]]


async def test_ended_tasks_of_several_states_are_one_list_by_time(bench: Bench) -> None:
    order = []
    for kind in (Kind.DEAD, Kind.COMPLETE, Kind.DEAD, Kind.COMPLETE, Kind.CANCEL):
        order += await end(bench, 1, kind)
    for limit in (1, 2, 10):
        assert await ids(bench, limit, state="dead,succeeded,cancelled") == order[::-1]
        assert await ids(bench, limit, sort="ended", state="dead,succeeded,cancelled") == order


async def test_many_that_ended_in_the_same_millisecond_are_each_listed_once(bench: Bench) -> None:
    sent = [await send(bench) for _ in range(45)]
    await bench.store.cancel(sent)
    for sort, wanted in (("ended", sorted(sent)), ("-ended", sorted(sent, reverse=True))):
        assert await ids(bench, 4, sort=sort, state="cancelled") == wanted
        assert await ids(bench, 4, sort=sort, state="cancelled,dead") == wanted


@pytest.mark.parametrize("sort", ["ended", "-ended"])
async def test_a_cursor_keeps_its_place_when_tasks_come_and_go(bench: Bench, sort: str) -> None:
    sent = [await send(bench) for _ in range(30)]
    await bench.store.cancel(sent)
    wanted = Filter(states=(State.CANCELLED,))
    first = await bench.store.browse.page(wanted, Sort(sort), 10, budget=5.0)
    seen = [row.id for row in first.rows]
    # What has been seen leaves (the cursor's own task too), and others end at the same instant.
    await bench.store.purge(seen[3:])
    await bench.store.cancel([await send(bench) for _ in range(5)])
    await bench.advance(1)
    rest: list[bytes] = []
    after = first.after
    while after is not None:
        page = await bench.store.browse.page(wanted, Sort(sort), 7, after)
        rest += [row.id for row in page.rows]
        after = page.after
    assert not set(rest) & set(seen)
    assert set(sent) <= set(rest) | set(seen)
    assert len(rest) == len(set(rest))


async def test_a_page_is_bounded_work_and_the_next_goes_on(bench: Bench) -> None:
    sent = [await send(bench) for _ in range(900)]
    last = await send(bench, type="rare")
    wanted = parse_filter({"type": "rare"})
    page = await bench.store.browse.page(wanted, Sort.STATES, 50, budget=0.0)
    assert page.rows == [] and page.after is not None
    assert 1 <= page.scanned <= 400
    assert await ids(bench, 50, budget=0.0, type="rare") == [last]
    assert await ids(bench, 50, budget=0.0) == [*sent, last]


async def test_a_list_by_whole_id_or_by_how_ids_begin(bench: Bench) -> None:
    sent = [await send(bench) for _ in range(5)]
    text = id_text(sent[2])
    assert await ids(bench, q=text) == [sent[2]]
    for n in (1, 2, 7, 12, 22):
        assert await ids(bench, q=text[:n]) == [id for id in sent if id_text(id).startswith(text[:n])]
    assert await ids(bench, q=text, state="dead") == []
    assert await ids(bench, q=id_text(new_task_id())) == []


async def test_running_tasks_by_when_they_were_made(bench: Bench) -> None:
    inc, other = await bench.worker(30), await bench.worker(30)
    sent = [await send(bench) for _ in range(40)]
    for n in range(40):
        await bench.claim_ids((inc, other)[n % 2], 1)
    for limit in (3, 50):
        assert await ids(bench, limit, sort="created", state="running,dispatched") == sorted(sent)
        assert await ids(bench, limit, sort="-created", state="running") == sorted(sent, reverse=True)
    assert sorted(await ids(bench, 3, state="running")) == sorted(sent)


async def test_parked_tasks_of_one_tenant_are_found_among_those_of_others(bench: Bench) -> None:
    await bench.configure(lanes=LANES, tenant=TenantConfig(max=1))
    inc = await bench.worker(100)
    for tenant in ("a", "ab", "b"):
        for lane in (2, 1):
            for _ in range(3):
                await send(bench, tenant=tenant, lane=lane)
    await bench.claim_ids(inc, 100)
    for tenant in ("a", "ab", "b"):
        listed = await rows(bench, 2, state="parked", tenant=tenant)
        assert [row.envelope.tenant for row in listed] == [tenant] * 5
        assert [row.lane for row in listed] == [1, 1, 2, 2, 2]
    assert len(await ids(bench, 2, state="parked", tenant="a,b")) == 10


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("boom", True), ("BOOM at sea", True), ("ValueError", True), ("valueerror: boom", True), ("Error: ", True),
        ("Straße", True), ("STRASSE", False), ("straẞE", True), ("bang", False), (": ", True), ("sea Straße", True),
        ("ValueError boom", False),
    ],
)  # fmt: skip
async def test_the_text_of_an_error_is_found_in_upper_or_lower_case(bench: Bench, text: str, found: bool) -> None:
    dead = await end(bench, 1, message="Boom at sea Straße")
    await end(bench, 1, Kind.COMPLETE)
    assert await ids(bench, error=text) == (dead if found else [])


async def test_sizes_of_lists_are_told_where_sets_have_them(bench: Bench) -> None:
    await bench.configure(lanes=LANES)
    await end(bench, 3)
    for lane in (1, 1, 2):
        await send(bench, lane=lane)
    await send(bench, delay_ms=500.0)
    count = bench.store.browse.count
    assert await count(Filter()) == 7
    for state in FINAL:
        assert await count(Filter(states=(state,))) == (3 if state is State.DEAD else 0)
    assert await count(parse_filter({"state": "queued,scheduled"})) == 4
    assert await count(parse_filter({"state": "queued", "lane": "high"})) == 2
    assert await count(parse_filter({"lane": "high"})) is None
    assert await count(parse_filter({"type": "t"})) is None


async def test_nothing_is_shown_to_one_who_sees_no_tenant(bench: Bench) -> None:
    await send(bench, tenant="a")
    page = await bench.store.browse.page(Filter(tenants=()), Sort.STATES, 10)
    assert (page.rows, page.after) == ([], None)


async def test_what_the_caller_asks_beside_the_filter_is_bounded_too(bench: Bench) -> None:
    sent = [await send(bench) for _ in range(12)]
    found, after, pages = [], None, 0
    while pages == 0 or after is not None:
        page = await bench.store.browse.page(
            Filter(), Sort.STATES, 2, after, also=lambda row: row.id in sent[::3], budget=0.0
        )
        found += [row.id for row in page.rows]
        after, pages = page.after, pages + 1
    assert found == sent[::3]


async def test_nothing_is_changed_by_looking(bench: Bench) -> None:
    sent = [await send(bench) for _ in range(3)]
    before = (await bench.store.stats()).counts
    await ids(bench)
    await bench.store.browse.rows(sent)
    assert (await bench.store.stats()).counts == before


@pytest.mark.parametrize("seed", range(3))
async def test_what_stays_where_it_is_comes_exactly_once_while_others_move(bench: Bench, seed: int) -> None:
    await bench.configure(lanes=LANES)
    random = Random(seed)
    inc = await bench.worker(100)
    stay = [await send(bench, lane=3, type="stay", tenant=random.choice("ab")) for _ in range(25)]
    stay += [await send(bench, type="stay", delay_ms=90_000.0 + random.random()) for _ in range(10)]
    gone = [await send(bench, type="stay") for _ in range(20)]
    await bench.store.cancel(gone)
    restless = [await send(bench, lane=random.choice((1, 2)), delay_ms=random.choice((0.0, 5.0))) for _ in range(40)]
    seen: list[bytes] = []
    after: Position | None = None
    while True:
        page = await bench.store.browse.page(Filter(), Sort.STATES, 3, after, budget=5.0)
        seen += [row.id for row in page.rows]
        after = page.after
        if after is None:
            break
        some = random.sample(restless, 4)
        move = random.randrange(6)
        if move == 0:
            for task in await bench.claim(inc, 2):
                if task.id not in stay:
                    await bench.settle(inc, task, random.choice((Kind.COMPLETE, Kind.DEAD)), data=error())
                else:  # (the lanes above are empty: it goes back to where it was)
                    await bench.settle(inc, task, Kind.RELEASE)
                    stay.remove(task.id)
        elif move == 1:
            await bench.store.cancel(some[:1])
        elif move == 2:
            await bench.store.actions.revise(some, Revision(random.choice((1, 2)), random.randrange(10)))
        elif move == 3:
            await bench.store.purge(some)
        elif move == 4:
            await bench.store.actions.retry(some)
        else:
            restless.append(await send(bench, lane=random.choice((1, 2)), priority=random.randrange(10)))
        await bench.advance(1)
    assert [id for id in seen if id in stay and seen.count(id) != 1] == []
    assert set(stay) | set(gone) <= set(seen)
    assert len([id for id in seen if id in gone]) == len(gone)
