"""HttpClient: against a real gateway on a real Redis, and against answers that a gateway gives only now and then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import httpx
import pytest
from tests.contract.gateways import run_one, served
from tests.contract.scripted_http import answer, scripted, stream

from laneway import HttpClient, errors
from laneway.adapters.redis import RedisStore
from laneway.cli.inprocess import InProcess
from laneway.client.http_answers import Event
from laneway.client.http_stream import EventParser, Sent
from laneway.gateway.app import build_app
from laneway.kit.ids import id_text, new_task_id
from laneway.model.settlement import Kind
from laneway.submit import NewTask, Receipt, Submitter
from laneway.tend.relay import Relay

UNKNOWN = id_text(new_task_id())


@pytest.fixture(params=["served", "in process"])
async def client(store: RedisStore, request: pytest.FixtureRequest) -> AsyncIterator[HttpClient]:
    """A client of the queue ``mail``: over a socket, and within this process."""
    if request.param == "served":
        async with served(store) as http, HttpClient(str(http.base_url), "mail") as client:
            yield client
        return
    app = build_app({"mail": store})
    async with HttpClient("http://here", "mail", transport=InProcess(app)) as client:
        yield client
    await app.state.gateway.stop()


async def submit(store: RedisStore, n: int, **fields: object) -> list[str]:
    tasks = [NewTask(**{"type": "send", **fields}) for _ in range(n)]  # type: ignore[arg-type]
    receipts = await Submitter(store).submit_many(tasks)
    return [receipt.text for receipt in receipts if isinstance(receipt, Receipt)]


async def test_a_task_goes_in_and_its_result_comes_out(client: HttpClient, store: RedisStore) -> None:
    task = await client.submit("send", {"to": "Ann"}, lane="high", priority=9, labels={"a": "b"}, idempotency_key="k")
    assert (task.state, task.duplicate) == ("queued", False)
    assert (await client.submit("send", {"to": "Ann"}, idempotency_key="k")).duplicate is True
    detail = await client.task(task.id)
    assert (detail.type, detail.lane, detail.priority, detail.payload) == ("send", "high", 9, {"to": "Ann"})
    assert detail.submitted_at is not None and detail.submitted_at.tzinfo is not None
    assert detail.raw["labels"] == {"a": "b"}
    waiting = asyncio.create_task(client.result(task.id, timeout=30))
    await run_one(store, data={"sent": True})
    assert await waiting == {"sent": True}


async def test_many_are_taken_or_refused_one_by_one(client: HttpClient, store: RedisStore) -> None:
    bodies: list[dict[str, object]] = [{"type": "send", "payload": {"n": n}} for n in range(1200)]
    bodies[3] = {"type": "send", "lane": "nope"}
    bodies[1100] = {"typ": "send"}
    results = await client.submit_many(bodies)
    assert isinstance(results[3], errors.UnknownLane) and "'nope'" in str(results[3])
    assert isinstance(results[1100], errors.InvalidTask) and "did you mean type?" in str(results[1100])
    taken = [result for result in results if not isinstance(result, errors.LanewayError)]
    assert len({task.id for task in taken}) == 1198
    assert (await client.stats()).tasks["queued"] == 1198


async def test_what_is_refused_is_raised_as_in_the_sdk(client: HttpClient, store: RedisStore) -> None:
    with pytest.raises(errors.UnknownTask, match=UNKNOWN) as unknown:
        await client.task(UNKNOWN)
    assert unknown.value.problem == "unknown-task"
    with pytest.raises(errors.UnknownLane, match="the lanes of this queue are: default, high"):
        await client.submit("send", lane="nope")
    with pytest.raises(errors.InvalidTask, match="priority must be a whole number from 0 to 9"):
        await client.submit("send", priority=10)
    first = await client.submit("send", idempotency_key="k")
    with pytest.raises(errors.IdempotencyConflict) as conflict:
        await client.submit("send", {"n": 1}, idempotency_key="k")
    assert conflict.value.task_id == first.id
    with pytest.raises(errors.InvalidRequest, match="limit"):
        await client.task_page(limit=1000)
    assert await client.cancel(first.id) == "cancelled"
    done = (await submit(store, 1))[0]
    await run_one(store)
    with pytest.raises(errors.WrongState, match="has ended already"):
        await client.cancel(done)
    client.queue = "other"
    with pytest.raises(errors.UnknownQueue, match="there are: mail"):
        await client.stats()
    with pytest.raises(TypeError, match="a task has no prio; what it may have: id, lane,"):
        await client.submit("send", prio=1)


async def test_ends_without_success_are_raised(client: HttpClient, store: RedisStore) -> None:
    (cancelled,) = await submit(store, 1)
    await client.cancel(cancelled)
    with pytest.raises(errors.TaskCancelled):
        await client.result(cancelled, timeout=5)
    (dead,) = await submit(store, 1)
    await run_one(store, Kind.DEAD)
    with pytest.raises(errors.TaskDead, match=dead):
        await client.result(dead, timeout=5)
    (waits,) = await submit(store, 1)
    with pytest.raises(errors.ResultTimeout, match="is queued and goes on"):
        await client.result(waits, timeout=0.05)


async def test_lists_go_over_all_pages_and_states_are_asked_by_id(client: HttpClient, store: RedisStore) -> None:
    ids = await submit(store, 450) + await submit(store, 2, type="other,with comma", tenant="acme")
    assert {item.id async for item in client.tasks(limit=200)} == set(ids)
    assert [item.tenant async for item in client.tasks(type=["other,with comma"])] == ["acme", "acme"]
    assert [item.id async for item in client.tasks(tenant=["acme"], state=["dead"])] == []
    assert await client.states([ids[0], UNKNOWN]) == {ids[0]: "queued", UNKNOWN: None}


async def test_lanes_queues_and_who_one_is(client: HttpClient) -> None:
    assert [(item.name, item.available) for item in await client.queues()] == [("mail", True)]
    assert {lane.name for lane in await client.lanes()} == {"high", "default"}
    assert (await client.queue_info()).raw["configuration"]["defaultLane"] == "default"
    assert (await client.eta("high")).lane == "high"
    assert await client.workers() == []
    assert (await client.whoami()).auth == "none"


async def test_events_come_as_they_happen_over_either_way(client: HttpClient, store: RedisStore, relay: Relay) -> None:
    ids: list[str] = []
    async with asyncio.timeout(30), aclosing(client.events(kinds=["submitted"], lane="high")) as events:
        first = asyncio.create_task(_next(events))
        while not first.done():  # (the stream begins with what happens once it is open)
            ids += await submit(store, 1, lane="high")
            await asyncio.wait([first], timeout=0.2)
        event = await first
    assert (event.kind, event.lane) == ("submitted", "high")
    assert set(event.ids) <= set(ids) and event.position
    told: set[str] = set()
    async with asyncio.timeout(30):
        while told != set(ids):  # (the relay may be a moment behind)
            told = {id for each in await client.recent_events(kinds=["submitted"]) for id in each.ids}
            await asyncio.sleep(0.01)


async def _next(events: AsyncGenerator[Event]) -> Event:
    return await anext(events)


# -- answers given beforehand

_BUSY = '{"type": "urn:laneway:problem:unavailable", "title": "t", "status": 503, "detail": "away", "retryAfterMs": 20}'
_TAKEN = '{"id": "06gmhl2oq4k1u8bn5d3ti98", "state": "queued", "duplicate": %s}'


async def test_what_the_gateway_cannot_take_now_is_sent_again_when_it_says() -> None:
    replies = (answer(503, _BUSY), answer(503, "<html>"), answer(201, _TAKEN % "false"))
    async with scripted(*replies) as script, HttpClient(script.url, "mail", token=" t ") as client:
        task = await client.submit("send")
    assert task.state == "queued"
    assert len(script.seen) == 3
    assert all("authorization: bearer t\r\n" in head.lower() for head in script.seen)
    assert len({seen.rpartition("\r\n")[2] for seen in script.seen}) == 1


async def test_patience_has_an_end() -> None:
    late = _BUSY.replace('"retryAfterMs": 20', '"retryAfterMs": 60000')
    async with scripted(answer(503, late)) as script, HttpClient(script.url, "mail", patience=5.0) as client:
        with pytest.raises(errors.Unavailable, match="away") as refused:
            await client.stats()
    assert refused.value.retry_after == 60.0


async def test_a_lost_answer_is_asked_for_again_under_the_same_id_and_is_no_duplicate() -> None:
    async with scripted(
        None, answer(504, _BUSY.replace("503", "504").replace("unavailable", "outcome-unknown"))
    ) as script:
        async with HttpClient(script.url, "mail", patience=0.0) as client:
            with pytest.raises(errors.OutcomeUnknown) as unknown:
                await client.submit("send")
        id = unknown.value.task_id
        assert len(id) == 23 and f'"id":"{id}"' in script.seen[0]
        async with HttpClient(script.url, "mail", patience=0.0) as client:
            with pytest.raises(errors.OutcomeUnknown) as unknown:
                await client.submit("send")
            assert len(unknown.value.task_id) == 23


async def test_that_a_later_try_was_refused_says_nothing_of_an_earlier_one() -> None:
    late = _BUSY.replace('"retryAfterMs": 20', '"retryAfterMs": 60000')
    async with scripted(None, answer(503, late)) as script, HttpClient(script.url, "mail", patience=5.0) as client:
        with pytest.raises(errors.OutcomeUnknown):
            await client.cancel(UNKNOWN)
    assert len(script.seen) == 2


async def test_a_replay_with_a_limit_is_not_sent_twice() -> None:
    async with scripted(None) as script, HttpClient(script.url, "mail", patience=5.0) as client:
        with pytest.raises(errors.OutcomeUnknown):
            await client.replay({"all": True, "limit": 10})
    assert len(script.seen) == 1


async def test_a_token_that_is_no_longer_known_is_asked_for_once_more() -> None:
    tokens = iter(["old", "new", "never"])
    denied = '{"type": "urn:laneway:problem:unauthenticated", "title": "t", "status": 401, "detail": "who are you?"}'

    async def token() -> str:
        return next(tokens)

    async with (
        scripted(answer(401, denied), answer(200, '{"name": "a"}'), answer(401, denied), answer(401, denied)) as s,
        HttpClient(s.url, "mail", token=token) as client,
    ):
        assert (await client.whoami()).name == "a"
        with pytest.raises(errors.AccessDenied, match="who are you"):
            await client.whoami()
    assert ["bearer old" in head.lower() for head in s.seen] == [True, False, False, False]
    assert "bearer new" in s.seen[1].lower() and "bearer never" in s.seen[3].lower()


async def test_a_stream_whose_token_has_expired_goes_on_with_the_next_one() -> None:
    tokens = iter(["old", "new", "newer"])
    denied = answer(401, '{"type": "urn:laneway:problem:unauthenticated", "status": 401, "detail": "who are you?"}')
    event = 'retry: 10\nevent: submitted\nid: 9-0\ndata: {"lane": "high", "ids": ["9"]}\n\n'
    async with (
        scripted(stream(event), denied, stream(event), denied, denied) as s,
        HttpClient(s.url, "mail", token=lambda: next(tokens)) as client,
    ):
        found = []
        with pytest.raises(errors.AccessDenied, match="who are you"):
            async for each in client.events():
                found.append(each.position)
    assert found == ["9-0", "9-0"]
    bearers = [line.split()[-1] for head in s.seen for line in head.split("\r\n") if "bearer" in line.lower()]
    assert bearers == ["old", "old", "new", "new", "newer"]


@pytest.mark.parametrize(
    ("reply", "error", "text"),
    [
        (answer(302, "", "Location: https://login.example.com/"), errors.InvalidRequest, "leads to https://login"),
        (answer(404, "<h1>nginx</h1>", kind="text/html"), errors.InvalidRequest, "not as a gateway of Laneway does"),
        (answer(200, "<h1>hello</h1>", kind="text/html"), errors.LanewayError, "does not answer as a gateway"),
        (answer(200, '{"some": "json"}'), errors.LanewayError, "not that of a gateway of Laneway"),
        (answer(500, '{"type": "urn:laneway:problem:internal", "detail": "oh"}'), errors.LanewayError, "oh"),
    ],
)
async def test_what_is_no_gateway_is_told_as_such(reply: bytes, error: type[Exception], text: str) -> None:
    async with scripted(reply) as script, HttpClient(script.url, "mail", patience=0.0) as client:
        with pytest.raises(error, match=text):
            await client.stats()


async def test_answers_without_what_they_must_have_are_told_as_such() -> None:
    replies = [answer(200, text) for text in ("[]", "{}", '{"items": 1}', '{"results": {}}')]
    async with scripted(*replies) as script, HttpClient(script.url, "mail", patience=0.0) as client:
        for call in (client.queues(), client.cancel(UNKNOWN), client.lanes(), client.submit_many([{"type": "a"}])):
            with pytest.raises(errors.LanewayError, match="not that of a gateway of Laneway"):
                await call


async def test_nobody_there_means_that_nothing_was_changed() -> None:
    async with scripted() as script:
        pass
    async with HttpClient(script.url, "mail", patience=0.0) as client:
        with pytest.raises(errors.Unavailable, match="can't be reached"):
            await client.submit("send")


async def test_a_gateway_on_this_machine_is_not_looked_for_behind_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with scripted(answer(200, '{"name": "a"}')) as script, HttpClient(script.url, "mail", patience=0.0) as client:
        assert (await client.whoami()).name == "a"


@pytest.mark.parametrize("url", ["", "example.com", "ftp://h", "http://", "http://u:p@h", "http://h?x=1", "http://h:x"])
def test_what_is_no_address_of_a_gateway_is_refused(url: str) -> None:
    with pytest.raises(errors.ConfigError):
        HttpClient(url)


async def test_a_stream_that_breaks_is_resumed_after_the_last_event_and_comments_are_no_events() -> None:
    def event(n: int) -> str:
        return f'event: submitted\nid: {n}-0\ndata: {{"lane": "high",\ndata:  "ids": ["{n}"]}}\n\n'

    away = answer(503, _BUSY)
    async with (
        scripted(
            stream("retry: 10\n", "id: 7-0\n", ": heartbeat\n\n", event(8), "event: submitted\nid: 9-0\nda"),
            away,
            stream(event(9), "event: gap\ndata: {}\n\n"),
            answer(403, '{"type": "urn:laneway:problem:forbidden", "status": 403, "detail": "no more"}'),
        ) as script,
        HttpClient(script.url, "mail") as client,
    ):
        found = []
        with pytest.raises(errors.AccessDenied, match="no more"):
            async for each in client.events(kinds=["submitted", "dead"], after="6-0"):
                found.append((each.kind, each.position, each.ids))
    assert found == [("submitted", "8-0", ["8"]), ("submitted", "9-0", ["9"]), ("gap", "9-0", [])]
    resumed = [
        next(line for line in head.split("\r\n") if line.lower().startswith("last-event-id")) for head in script.seen
    ]
    assert [line.split(": ")[1] for line in resumed] == ["6-0", "8-0", "8-0", "9-0"]
    assert "kinds=submitted%2Cdead" in script.seen[0]


async def test_a_stream_in_which_nothing_has_happened_yet_is_resumed_where_it_was() -> None:
    event = 'event: submitted\nid: 9-0\ndata: {"lane": "high", "ids": ["9"]}\n\n'
    async with (
        scripted(
            stream("retry: 10\n", "id: 7-0\n\n"),
            stream("retry: 10\n", ": heartbeat\nid: 8-0\n\n", "id: 9-0\nda"),
            stream(event),
        ) as script,
        HttpClient(script.url, "mail") as client,
        aclosing(client.events()) as events,
    ):
        assert (await anext(events)).position == "9-0"
    resumed = [
        [line for line in head.split("\r\n") if line.lower().startswith("last-event-id")] for head in script.seen
    ]
    assert [[line.split(": ")[1] for line in lines] for lines in resumed] == [[], ["7-0"], ["8-0"]]


def test_lines_become_events_as_the_specification_says() -> None:
    parser = EventParser()
    lines = [
        "\ufeff".strip("\ufeff"),
        ": hello",
        "data",
        "",
        "event:x",
        "data: a",
        "data:b",
        "id: 1",
        "",
        "data: c",
        "",
        "id: 2",
        "",
        "id",
    ]
    sent = [found for line in lines if (found := parser.line(line)) is not None]
    assert sent == [Sent("message", "", ""), Sent("x", "a\nb", "1"), Sent("message", "c", "1")]
    assert parser.last_id == "2"  # (an event that does not end moves nothing)
    assert parser.line("") is None
    assert parser.last_id == ""


async def test_an_application_within_the_process_is_told_when_its_reader_has_gone() -> None:
    ended = asyncio.Event()

    async def endless(scope: object, receive: object, send: object) -> None:
        assert callable(receive) and callable(send)
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        message = await receive()
        assert message["type"] == "http.disconnect"
        ended.set()

    async with httpx.AsyncClient(transport=InProcess(endless), base_url="http://here") as client:  # type: ignore[arg-type]
        async with client.stream("GET", "/") as response:
            assert await anext(response.aiter_bytes()) == b"one"
        await asyncio.wait_for(ended.wait(), 10)


async def test_an_application_within_the_process_that_fails_fails_its_client() -> None:
    async def broken(scope: object, receive: object, send: object) -> None:
        raise RuntimeError("broken")

    async with httpx.AsyncClient(transport=InProcess(broken), base_url="http://here") as client:  # type: ignore[arg-type]
        with pytest.raises(RuntimeError, match="broken"):
            await client.get("/")
