"""Bad input over HTTP: each case with the status and the message it gets; nothing is changed by it."""

# ruff: noqa: E501 (tables read better with a case to a line)

from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest

from laneway.adapters.redis import RedisStore
from laneway.gateway.app import build_app
from laneway.gateway.limits import GatewayLimits
from laneway.model.config import LaneConfig, QueueConfig

Q = "/api/v1/queues/mail"
TASKS = f"{Q}/tasks"
JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def store(redis7_url: str) -> AsyncIterator[RedisStore]:
    store = RedisStore(redis7_url, "mail")
    lanes = (
        LaneConfig(n=1, name="default"),
        LaneConfig(n=2, name="high", prio=9),
        LaneConfig(n=3, name="old", gone=True),
    )
    await store.configure(QueueConfig(lanes=lanes, max_payload=2_000), {}, expected=None)
    yield store
    await store.close()


@pytest.fixture
async def client(store: RedisStore) -> AsyncIterator[httpx.AsyncClient]:
    app = build_app({"mail": store}, limits=GatewayLimits(max_body=5_000, max_batch_body=6_000, max_batch=3))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        yield client


def task(**fields: Any) -> bytes:
    return msgspec.json.encode({"type": "mail", **fields})


#: name -> (body, status, the problem's type, the field named, what the message says)
FIELDS: dict[str, tuple[bytes, int, str, str | None, str]] = {
    # not JSON at all
    "empty body": (b"", 400, "malformed-json", None, "the body must be JSON: Input data was truncated"),
    "cut off": (b'{"type": "mail"', 400, "malformed-json", None, "truncated"),
    "not JSON": (b"type=mail", 400, "malformed-json", None, "invalid character (byte 4)"),
    "trailing comma": (b'{"type": "mail",}', 400, "malformed-json", None, "(byte 16)"),
    "two values": (b'{"type": "mail"} {}', 400, "malformed-json", None, "trailing characters (byte 18)"),
    "single quotes": (b"{'type': 'mail'}", 400, "malformed-json", None, "(byte 1)"),
    "NaN": (b'{"type": "mail", "delay": NaN}', 400, "malformed-json", None, "invalid character"),
    "byte order mark": (b'\xef\xbb\xbf{"type": "mail"}', 400, "malformed-json", None, "byte 0"),
    "not UTF-8": (b'{"type": "m\xffil"}', 400, "malformed-json", None, "it is not UTF-8"),
    "half a surrogate": (b'{"type": "\\ud800"}', 400, "malformed-json", None, "a lone surrogate"),
    "a surrogate before another character": (
        b'{"type": "\\ud800\\u0041"}', 400, "malformed-json", None, "a lone surrogate (\\ud800 to \\udfff)",
    ),
    "the second half alone": (b'{"type": "\\udc00"}', 400, "malformed-json", None, "a lone surrogate"),
    "nested too deeply": (
        b'{"type": "mail", "payload": {"a": ' + b"[" * 2_000 + b"]" * 2_000 + b"}}", 400, "malformed-json", None,
        "it is nested too deeply",
    ),
    "number out of range": (b'{"type": "mail", "delay": 1e999}', 400, "malformed-json", None, "out of range"),
    # not a task
    "an array": (b"[]", 422, "invalid-task", "", "a task must be a JSON object with at least a type, not []"),
    "null": (b"null", 422, "invalid-task", "", "must be a JSON object"),
    "a text": (b'"mail"', 422, "invalid-task", "", "must be a JSON object"),
    # fields
    "no type": (b"{}", 422, "invalid-task", "type", "type is missing: it must be a text of 1 to 128 printable"),
    "type null": (b'{"type": null}', 422, "invalid-task", "type", "type must be a text of 1 to 128"),
    "type empty": (b'{"type": ""}', 422, "invalid-task", "type", 'printable characters, not ""'),
    "type a number": (b'{"type": 7}', 422, "invalid-task", "type", "printable characters, not 7"),
    "type too long": (task(type="x" * 129), 422, "invalid-task", "type", "a text of 1 to 128"),
    "type with a line break": (task(type="a\nb"), 422, "invalid-task", "type", 'not "a\\nb"'),
    "unknown field": (task(colour="red"), 422, "invalid-task", "colour", "no field colour: the fields are type, payload"),
    "misspelt field": (task(payloed={}), 422, "invalid-task", "payloed", "did you mean payload?"),
    "field in snake case": (task(max_attempts=3), 422, "invalid-task", "max_attempts", "did you mean maxAttempts?"),
    "unknown lane": (task(lane="fast"), 422, "unknown-lane", "lane", "the lanes of this queue are: default, high"),
    "lane that is being removed": (task(lane="old"), 422, "unknown-lane", "lane", "is being removed"),
    "lane a number": (task(lane=1), 422, "invalid-task", "lane", "the name of one of the queue's lanes, not 1"),
    "priority too high": (task(priority=10), 422, "invalid-task", "priority", "a whole number from 0 to 9"),
    "priority negative": (task(priority=-1), 422, "invalid-task", "priority", "not -1"),
    "priority a text": (task(priority="9"), 422, "invalid-task", "priority", 'not "9"'),
    "priority half": (task(priority=4.5), 422, "invalid-task", "priority", "not 4.5"),
    "priority true": (task(priority=True), 422, "invalid-task", "priority", "not true"),
    "payload an array": (task(payload=[1]), 422, "invalid-task", "payload", "an object: the handler's arguments"),
    "payload a text": (task(payload="x"), 422, "invalid-task", "payload", 'not "x"'),
    "payload with a huge number": (
        b'{"type": "mail", "payload": {"n": 123456789012345678901234567890}}', 422, "invalid-task", "payload",
        "whole numbers of at most 64 bits; send larger ones as text",
    ),
    "payload over the queue's limit": (
        task(payload={"a": "x" * 2_500}), 413, "payload-too-large", "payload", "this queue takes 2,000 at most",
    ),
    "description too long": (task(description="x" * 501), 422, "invalid-task", "description", "at most 500"),
    "tenant with a space": (task(tenant="a b"), 422, "invalid-task", "tenant", "at most 63 of the characters"),
    "tenant too long": (task(tenant="t" * 64), 422, "invalid-task", "tenant", "at most 63 of the characters"),
    "tenant with a line break": (task(tenant="a\n"), 422, "invalid-task", "tenant", "at most 63 of the characters"),
    "idempotency key empty": (task(idempotencyKey=""), 422, "invalid-task", "idempotencyKey", "1 to 200 bytes"),
    "idempotency key too long": (task(idempotencyKey="x" * 201), 422, "invalid-task", "idempotencyKey", "200"),
    "idempotency key of too many bytes": (
        task(idempotencyKey="é" * 101), 422, "invalid-task", "idempotencyKey", "1 to 200 bytes",
    ),
    "delay negative": (task(delay=-0.5), 422, "invalid-task", "delay", "from 0 to 315360000, not -0.5"),
    "delay a text": (task(delay="5s"), 422, "invalid-task", "delay", 'a number of seconds from 0 to 315360000, not "5s"'),
    "delay of a century": (task(delay=3.2e9), 422, "invalid-task", "delay", "from 0 to 315360000"),
    "run-at without a zone": (
        task(runAt="2030-01-01T00:00:00"), 422, "invalid-task", "runAt", "RFC 3339 time with its zone",
    ),
    "run-at no time": (task(runAt="tomorrow"), 422, "invalid-task", "runAt", "like 2030-01-31T08:00:00Z"),
    "run-at a number": (task(runAt=1893456000), 422, "invalid-task", "runAt", "RFC 3339"),
    "run-at with 1970 itself": (task(runAt="1970-01-01T00:00:00Z"), 422, "invalid-task", "runAt", "runAt must be"),
    "run-at over ten years ahead": (
        task(runAt="2099-01-01T00:00:00Z"), 422, "invalid-task", "runAt", "up to ten years from now",
    ),
    "run-at that UTC does not have": (
        task(runAt="9999-12-31T23:59:59-00:01"), 422, "invalid-task", "runAt", "up to ten years from now",
    ),
    "run-at before 1970": (task(runAt="1969-01-01T00:00:00Z"), 422, "invalid-task", "runAt", "after 1970"),
    "delay and run-at": (
        task(delay=5, runAt="2030-01-01T00:00:00Z"), 422, "invalid-task", "runAt", "give delay or runAt, not both",
    ),
    "timeout negative": (task(timeout=-1), 422, "invalid-task", "timeout", "from 0 to 3456000 (0: unbounded)"),
    "start timeout a text": (task(startTimeout="1"), 422, "invalid-task", "startTimeout", "a number of seconds"),
    "no attempts": (task(maxAttempts=0), 422, "invalid-task", "maxAttempts", "a whole number from 1 to 255, not 0"),
    "too many attempts": (task(maxAttempts=256), 422, "invalid-task", "maxAttempts", "1 to 255"),
    "backoff a number": (task(backoff=2), 422, "invalid-task", "backoff", "any of base, factor, cap and jitter"),
    "backoff with a negative base": (task(backoff={"base": -1}), 422, "invalid-task", "backoff.base", "not -1"),
    "backoff that shrinks": (task(backoff={"factor": 0.5}), 422, "invalid-task", "backoff.factor", "from 1 to 100"),
    "backoff with a base over its cap": (
        task(backoff={"base": 5, "cap": 1}), 422, "invalid-task", "backoff.base", "at most backoff.cap",
    ),
    "backoff with a base over the usual cap": (
        task(backoff={"base": 7200}), 422, "invalid-task", "backoff.base", "(3600 unless given), not 7200",
    ),
    "backoff with too much jitter": (task(backoff={"jitter": 2}), 422, "invalid-task", "backoff.jitter", "0 to 1"),
    "backoff with an unknown field": (
        task(backoff={"bass": 1}), 422, "invalid-task", "backoff.bass", "did you mean backoff.base?",
    ),
    "labels an array": (task(labels=["a"]), 422, "invalid-task", "labels", "an object of at most 16 texts"),
    "label a number": (task(labels={"a": 1}), 422, "invalid-task", "labels", 'not {"a":1}'),
    "too many labels": (task(labels={str(i): "" for i in range(17)}), 422, "invalid-task", "labels", "at most 16"),
    "label with no name": (task(labels={"": "x"}), 422, "invalid-task", "labels.", "names of 1 to 63"),
    "label too long": (task(labels={"a": "x" * 257}), 422, "invalid-task", "labels.a", "at most 256 characters"),
    "id too short": (task(id="abc"), 422, "invalid-task", "id", "a task id of 23 characters, 0-9 and a-v"),
    "id in upper case": (task(id="06H0OTHMQOHOB0CEPL7IA30"), 422, "invalid-task", "id", "lower case"),
    "id with too many bits": (
        task(id="06h0othmqohob0cepl7ia31"), 422, "invalid-task", "id", "of which the last is 0, 8, g or o",
    ),
    "id with a line break": (task(id="06h0othmqohob0cepl7ia3\n"), 422, "invalid-task", "id", "23 characters"),
    "several fields": (
        task(priority=99, delay="x", nope=1), 422, "invalid-task", "priority", "delay must be a number of seconds",
    ),
    "body too large": (task(description="x" * 6_000), 413, "body-too-large", None, "over 5,000 bytes"),
}  # fmt: skip


@pytest.mark.parametrize("case", FIELDS)
async def test_a_bad_task_is_refused_saying_what_would_be_right(
    client: httpx.AsyncClient, store: RedisStore, case: str
) -> None:
    body, status, kind, field, message = FIELDS[case]
    answer = await client.post(TASKS, content=body, headers=JSON)
    problem = answer.json()
    assert answer.status_code == status == problem["status"], problem
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["type"] == f"urn:laneway:problem:{kind}"
    assert message in problem["detail"]
    if field is not None:
        assert problem["errors"][0]["field"] == field
    assert len(answer.content) < 3_000, "a message repeats no large input"
    assert (await store.stats()).counts["submitted"] == 0


#: name -> (method, path, headers, body, status, type, what the message says)
REQUESTS: dict[str, tuple[str, str, dict[str, str], bytes, int, str, str]] = {
    "no content type": ("POST", TASKS, {}, task(), 415, "unsupported-media-type", "has no Content-Type"),
    "a form": (
        "POST", TASKS, {"Content-Type": "application/x-www-form-urlencoded"}, b"type=mail", 415,
        "unsupported-media-type", "must be JSON with Content-Type: application/json, not application/x-www-form",
    ),
    "text/json": ("POST", TASKS, {"Content-Type": "text/json"}, task(), 415, "unsupported-media-type", "not text/json"),
    "another charset": (
        "POST", TASKS, {"Content-Type": "application/json; charset=latin-1"}, task(), 415, "unsupported-media-type",
        "UTF-8, not latin-1",
    ),
    "compressed": (
        "POST", TASKS, {**JSON, "Content-Encoding": "gzip"}, task(), 415, "unsupported-media-type",
        "without Content-Encoding",
    ),
    "unknown queue": (
        "POST", "/api/v1/queues/nope/tasks", JSON, task(), 404, "unknown-queue", "no queue 'nope'; there are: mail",
    ),
    "unknown path": ("GET", "/api/v1/nothing", {}, b"", 404, "not-found", "/ lists what there is"),
    "a slash too many": ("POST", TASKS + "/", JSON, task(), 404, "not-found", "nothing at"),
    "wrong method": ("PUT", TASKS, JSON, task(), 405, "method-not-allowed", "possible: GET, HEAD, POST"),
    "no such task": ("GET", f"{TASKS}/06h0othmqohob0cepl7ia30", {}, b"", 404, "unknown-task", "it never had"),
    "no task id": ("GET", f"{TASKS}/7", {}, b"", 404, "unknown-task", "a task id has 23 characters, not 1"),
    "an id of other characters": (
        "GET", f"{TASKS}/06h0othmqohob0cepl7iaz0", {}, b"", 404, "unknown-task", "only the characters 0-9 and a-v",
    ),
    "an id in upper case": (
        "GET", f"{TASKS}/06H0OTHMQOHOB0CEPL7IA30", {}, b"", 404, "unknown-task", "is 06h0othmqohob0cepl7ia30",
    ),
    "cancel no such task": (
        "POST", f"{TASKS}/06h0othmqohob0cepl7ia30/cancel", {}, b"", 404, "unknown-task", "has no task",
    ),
    "empty idempotency key": (
        "POST", TASKS, {**JSON, "Idempotency-Key": '""'}, task(), 422, "invalid-task", "1 to 200 printable ASCII",
    ),
    "long idempotency key": (
        "POST", TASKS, {**JSON, "Idempotency-Key": "k" * 201}, task(), 422, "invalid-task", "1 to 200 printable",
    ),
    "two idempotency keys that differ": (
        "POST", TASKS, {**JSON, "Idempotency-Key": "a"}, task(idempotencyKey="b"), 422, "invalid-task",
        "must be the same as the Idempotency-Key header",
    ),
    "idempotency key for a batch": (
        "POST", f"{TASKS}/batch", {**JSON, "Idempotency-Key": "a"}, b"[]", 422, "invalid-task",
        "give each task its own idempotencyKey",
    ),
    "batch not an array": (
        "POST", f"{TASKS}/batch", JSON, b"{}", 422, "invalid-task", "must be a JSON array of tasks",
    ),
    "empty batch": ("POST", f"{TASKS}/batch", JSON, b"[]", 422, "invalid-task", "at least one task"),
    "batch of too many": (
        "POST", f"{TASKS}/batch", JSON, b"[" + b",".join([task()] * 4) + b"]", 413, "batch-too-large",
        "at most 3 tasks, not 4",
    ),
    "batch too large": (
        "POST", f"{TASKS}/batch", JSON, b"[" + task(payload={"a": "x" * 7_000}) + b"]", 413, "body-too-large",
        "over 6,000 bytes",
    ),
    "batch cut off": ("POST", f"{TASKS}/batch", JSON, b"[" + task() + b",", 400, "malformed-json", "truncated"),
    "batch with one task that is no JSON": (
        "POST", f"{TASKS}/batch", JSON, b"[" + task() + b',{"type": nul}]', 400, "malformed-json", "byte",
    ),
    "batch with a task that is not UTF-8": (
        "POST", f"{TASKS}/batch", JSON, b"[" + task() + b',{"type": "\xff"}]', 400, "malformed-json", "not UTF-8",
    ),
    "batch with a wrong task and one that is no JSON": (
        "POST", f"{TASKS}/batch", JSON, b'[{"type": 1},{"type": "\xff"}]', 400, "malformed-json", "not UTF-8",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REQUESTS)
async def test_a_bad_request_is_refused_saying_what_would_be_right(
    client: httpx.AsyncClient, store: RedisStore, case: str
) -> None:
    method, path, headers, body, status, kind, message = REQUESTS[case]
    answer = await client.request(method, path, content=body, headers=headers)
    problem = answer.json()
    assert answer.status_code == status == problem["status"], problem
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["type"] == f"urn:laneway:problem:{kind}"
    assert message in problem["detail"]
    assert (await store.stats()).counts["submitted"] == 0


def many(count: int, most: int) -> bytes:
    return task(**{f"startTimeou{'u' * (i % most)}{i}": 1 for i in range(count)})


@pytest.fixture
async def large(store: RedisStore) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(build_app({"mail": store}))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        yield client


async def test_of_a_hundred_thousand_unknown_fields_ten_are_told_and_the_rest_counted(
    large: httpx.AsyncClient,
) -> None:
    answer = await large.post(TASKS, content=many(100_000, 9), headers=JSON)
    assert answer.status_code == 422
    assert len(answer.content) < 10_000
    problem = answer.json()
    assert "did you mean startTimeout?" in problem["detail"]
    assert problem["errors"][-1]["message"] == "and 99,990 more fields that are not known"
    assert len(problem["errors"]) == 11


async def test_nothing_like_a_very_long_name_is_looked_for(large: httpx.AsyncClient) -> None:
    answer = await large.post(TASKS, content=task(**{"startTimeout" * 200_000: 1}), headers=JSON)
    assert answer.status_code == 422
    assert len(answer.content) < 1_500
    assert "the fields are type, payload" in answer.json()["detail"]


async def test_the_answer_to_a_batch_of_wrong_tasks_is_bounded_and_still_has_a_result_for_each(
    large: httpx.AsyncClient, store: RedisStore
) -> None:
    wrong = [many(800, 3)] * 500 + [task(labels={str(i): "x" * 300 for i in range(16)})] * 499
    body = b"[" + b",".join([*wrong, task()]) + b"]"
    answer = await large.post(f"{TASKS}/batch", content=body, headers=JSON)
    assert len(answer.content) < 1_000_000
    results = answer.json()["results"]
    assert [result["status"] for result in results] == [422] * 999 + [201]
    assert "did you mean" in results[0]["problem"]["detail"]
    assert results[499]["problem"]["detail"] == "there are 800 fields that are not known"
    assert "labels must be" in results[998]["problem"]["detail"]
    assert len(results[998]["problem"]["errors"]) == 1
    assert (await store.stats()).counts["submitted"] == 1


async def test_every_wrong_field_is_named_at_once(client: httpx.AsyncClient) -> None:
    body = task(priority=99, delay="x", nope=1, backoff={"jitter": 5})
    errors = (await client.post(TASKS, content=body, headers=JSON)).json()["errors"]
    assert {error["field"] for error in errors} == {"priority", "delay", "nope", "backoff.jitter"}


async def test_405_names_the_methods_there_are(client: httpx.AsyncClient) -> None:
    answer = await client.delete(TASKS)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD, POST"
    answer = await client.post(f"{Q}/stats")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"


async def test_in_a_batch_each_bad_task_gets_its_own_problem_and_the_good_one_is_taken(
    client: httpx.AsyncClient, store: RedisStore
) -> None:
    body = b"[" + b",".join([task(priority=99), task(), task(lane="fast")]) + b"]"
    answer = await client.post(f"{TASKS}/batch", content=body, headers=JSON)
    got = answer.json()
    assert answer.status_code == 200
    assert [item["status"] for item in got["results"]] == [422, 201, 422]
    assert (got["accepted"], got["duplicates"], got["refused"]) == (1, 0, 2)
    assert "a whole number from 0 to 9" in got["results"][0]["problem"]["detail"]
    assert got["results"][2]["problem"]["type"] == "urn:laneway:problem:unknown-lane"
    assert (await store.stats()).counts["submitted"] == 1


def test_the_table_is_not_short() -> None:
    assert len(FIELDS) + len(REQUESTS) >= 40
