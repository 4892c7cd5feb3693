"""Encoding of tasks: the fast way gives the bytes of the plain way, and refusals say what would be right."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laneway.errors import InvalidTask, PayloadTooLarge, UnknownLane
from laneway.kit.ids import new_task_id
from laneway.model.config import LaneConfig, QueueConfig
from laneway.model.envelope import Backoff, Body, Envelope, decode_stored, encode_envelope
from laneway.submit.encoder import MAX_TEMPLATES, Encoder
from laneway.submit.new_task import NewTask

CONFIG = QueueConfig(
    lanes=(
        LaneConfig(n=3, name="high"),
        LaneConfig(n=1, name="default"),
        LaneConfig(n=2, name="old", gone=True),
    ),
    max_payload=20_000,
)
STAMP = bytes(6)


def plainly(task: NewTask) -> bytes:
    """The envelope by the model's own encoder."""
    lane = CONFIG.lane(task.lane or CONFIG.default_lane)
    assert lane is not None
    body = Body(
        task.type, task.payload, math.ceil(task.timeout * 1000), task.backoff, task.labels or None,
        task.description, task.trace,
    )  # fmt: skip
    env = Envelope(
        lane.n,
        task.priority,
        task.max_attempts or 0,
        task.tenant,
        body,
        delay_ms=task.delay * 1000,
        at_ms=task.run_at.timestamp() * 1000 if task.run_at else 0.0,
        start_timeout_ms=math.ceil(task.start_timeout * 1000),
        idempotency_key=task.key,
    )
    return encode_envelope(env, compress_over=CONFIG.compress_over)


texts = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_categories=["C", "Z"]), min_size=1)
tasks = st.builds(
    NewTask,
    type=texts.map(lambda text: text[:128]),
    payload=st.dictionaries(st.text(max_size=9), st.binary(max_size=400) | st.integers(0, 9), max_size=20).map(
        msgspec.msgpack.encode
    ),
    lane=st.sampled_from([None, "high", "default"]),
    priority=st.integers(0, 9),
    max_attempts=st.none() | st.integers(1, 255),
    tenant=st.sampled_from(["", "a", "acme-1.eu"]),
    timeout=st.floats(0, 10_000),
    start_timeout=st.floats(0, 10_000),
    delay=st.sampled_from([0.0, 1.5]),
    key=st.none() | st.text(st.characters(codec="ascii"), min_size=1, max_size=200),
    backoff=st.none() | st.builds(Backoff, base=st.floats(0, 100)),
    labels=st.none()
    | st.dictionaries(texts.map(lambda text: text[:63]), texts.map(lambda text: text[:99]), max_size=4),
    description=st.none() | st.just("what it does"),
    trace=st.none() | st.just("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
)


@settings(max_examples=300, deadline=None)
@given(tasks)
def test_a_task_is_encoded_as_the_model_encodes_it_and_again_the_same_once_it_has_an_id(
    task: NewTask,
) -> None:
    encoder = Encoder(CONFIG)
    first = encoder.encode(task)
    assert first == plainly(task)
    task.id = new_task_id()
    assert encoder.encode(task) == first
    env = decode_stored(STAMP + first)
    assert (env.body.type, env.body.payload, env.idempotency_key) == (task.type, task.payload, task.key)


@pytest.mark.parametrize("size", [0, 1, 15, 200, 252, 253, 254, 255, 256, 3000, 4095, 4096, 4097, 19_000])
def test_payloads_of_every_header_size_come_back_whole(size: int) -> None:
    payload = msgspec.msgpack.encode({"d": b"\x93" * size})
    task = NewTask(type="t", payload=payload)
    sent = Encoder(CONFIG).encode(task)
    assert sent == plainly(task)
    assert decode_stored(STAMP + sent).body.payload == payload


def test_more_kinds_of_tasks_than_are_remembered_are_still_encoded_right() -> None:
    encoder = Encoder(CONFIG)
    for i in range(MAX_TEMPLATES + 5):
        encoder.encode(NewTask(type=f"t{i}"))
    for i in (0, 1, MAX_TEMPLATES, MAX_TEMPLATES + 4):
        task = NewTask(type=f"t{i}")
        assert encoder.encode(task) == plainly(task)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ({"priority": 1}, {"priority": True}),
        ({"priority": 1}, {"priority": 1.0}),
        ({"max_attempts": 1}, {"max_attempts": True}),
        ({"max_attempts": 4}, {"max_attempts": 4.0}),
        ({"timeout": 1.0}, {"timeout": True}),
        ({"start_timeout": 1}, {"start_timeout": True}),
        ({"backoff": Backoff(factor=1.0)}, {"backoff": Backoff(factor=True)}),
    ],
)
def test_equal_numbers_of_another_type_do_not_slip_in_through_what_is_remembered(
    right: dict[str, Any], wrong: dict[str, Any]
) -> None:
    encoder = Encoder(CONFIG)
    for more in ({}, {"key": "k"}):
        encoder.encode(NewTask(type="t", **right, **more))
        with pytest.raises(InvalidTask):
            encoder.encode(NewTask(type="t", **wrong, **more))


MAPS = [
    {"a": 1}, {str(i): i for i in range(20)}, {str(i): i for i in range(70_000)}, {"a": {1: [None, b"x"]}},
]  # fmt: skip


@pytest.mark.parametrize("value", MAPS, ids=["one", "map16", "map32", "a number as a key within"])
def test_maps_of_every_header_are_payloads(value: dict[str, Any]) -> None:
    payload = msgspec.msgpack.encode(value)
    encoder = Encoder(QueueConfig(lanes=CONFIG.lanes))
    for sound in (False, True):
        sent = encoder.encode(NewTask(type="t", payload=payload, sound=sound))
        assert decode_stored(STAMP + sent).body.payload == payload


NO_MAPS = {
    "cut off": b"\x81",
    "cut off in a value": b"\x82\xa1a\xc0",
    "followed by rubbish": b"\x80junk",
    "followed by another": b"\x80\x80",
    "of 16 bits cut off": b"\xde\x00",
    "a number as a key": b"\x81\x01\x02",
    "nil as a key": b"\x81\xc0\x02",
    "bytes as a key": b"\x81\xc4\x01a\x02",
    "text that is not UTF-8": b"\x81\xa1a\xa1\xff",
    "nested without end": b"\x81\xa1a" + b"\x91" * 5_000 + b"\xc0",
    "a byte that msgpack does not have": b"\x81\xa1a\xc1",
}


@pytest.mark.parametrize("more", [{}, {"key": "k"}], ids=["fast", "slow"])
@pytest.mark.parametrize("payload", NO_MAPS.values(), ids=NO_MAPS.keys())
def test_bytes_that_are_not_one_map_with_texts_as_keys_are_refused(payload: bytes, more: dict[str, Any]) -> None:
    with pytest.raises(InvalidTask, match="must be one map of arguments by name"):
        Encoder(CONFIG).encode(NewTask(type="t", payload=payload, **more))


NOW = datetime.now(UTC)
LAST = datetime.fromisoformat("9999-12-31T23:59:59-23:59")
REFUSED: list[tuple[str, dict[str, Any], type[InvalidTask], str]] = [
    ("an empty type", {"type": ""}, InvalidTask, "type must be 1 to 128"),
    ("a long type", {"type": "t" * 129}, InvalidTask, "type must be 1 to 128"),
    ("a type with a line break", {"type": "a\nb"}, InvalidTask, "printable"),
    ("a type that is no text", {"type": 7}, InvalidTask, "type must be"),
    ("an unknown lane", {"lane": "hihg"}, UnknownLane, "the lanes of this queue are: high, default"),
    ("a lane being removed", {"lane": "old"}, UnknownLane, "'old' is being removed"),
    ("a lane that is a list", {"lane": ["high"]}, UnknownLane, "does not exist"),
    ("a priority over 9", {"priority": 10}, InvalidTask, "a whole number from 0 to 9, not 10"),
    ("a negative priority", {"priority": -1}, InvalidTask, "0 to 9"),
    ("a priority with a fraction", {"priority": 1.5}, InvalidTask, "whole number"),
    ("a priority that is a bool", {"priority": True}, InvalidTask, "whole number"),
    ("no attempts", {"max_attempts": 0}, InvalidTask, "max_attempts must be a whole number from 1 to 255"),
    ("too many attempts", {"max_attempts": 256}, InvalidTask, "1 to 255"),
    ("a tenant with a space", {"tenant": "a b"}, InvalidTask, "the name of a tenant has 1 to 63"),
    ("a tenant with a line break at its end", {"tenant": "a\n"}, InvalidTask, "the name of a tenant has"),
    ("a long tenant", {"tenant": "a" * 64}, InvalidTask, "1 to 63"),
    ("a tenant that is no text", {"tenant": 7}, InvalidTask, "tenant must be text"),
    ("a negative delay", {"delay": -1.0}, InvalidTask, "delay must be from 0"),
    ("a delay that is no number", {"delay": math.nan}, InvalidTask, "delay must be from 0"),
    ("an endless delay", {"delay": math.inf}, InvalidTask, "delay must be from 0"),
    ("a delay and a time", {"delay": 1.0, "run_at": NOW}, InvalidTask, "not both"),
    ("a time without a zone", {"run_at": datetime(2030, 1, 1)}, InvalidTask, "time zone"),
    ("a time before 1970", {"run_at": datetime(1960, 1, 1, tzinfo=UTC)}, InvalidTask, "after 1970"),
    ("a time over ten years ahead", {"run_at": NOW + timedelta(days=3652)}, InvalidTask, "at most ten years from now"),
    ("a time that UTC does not have", {"run_at": LAST}, InvalidTask, "at most ten years from now"),
    ("a negative timeout", {"timeout": -0.1}, InvalidTask, "timeout must be"),
    ("a start timeout that does not fit", {"start_timeout": 1e9}, InvalidTask, "start_timeout must be"),
    ("an empty key", {"key": ""}, InvalidTask, "1 to 200 bytes"),
    ("a key of 200 characters but more bytes", {"key": "é" * 101}, InvalidTask, "200 bytes, not 202"),
    ("a key that is no text", {"key": b"k"}, InvalidTask, "key must be text"),
    ("a key with half a character", {"key": "\ud800"}, InvalidTask, "surrogate"),
    ("too many labels", {"labels": {str(i): "" for i in range(17)}}, InvalidTask, "at most 16"),
    ("labels in a list", {"labels": ["a"]}, InvalidTask, "labels must be"),
    ("a label that is a number", {"labels": {"n": 1}}, InvalidTask, "the label 'n' must be text"),
    ("a long label", {"labels": {"n": "x" * 257}}, InvalidTask, "256"),
    ("a backoff that shrinks", {"backoff": Backoff(factor=0.5)}, InvalidTask, "backoff factor"),
    ("a backoff that is a number", {"backoff": 3}, InvalidTask, "backoff must be a Backoff"),
    ("a backoff with a base over its cap", {"backoff": Backoff(base=5, cap=1)}, InvalidTask, "at most its cap (1 sec"),
    ("a jitter over 1", {"backoff": Backoff(jitter=2)}, InvalidTask, "jitter"),
    ("a payload that is an array", {"payload": b"\x93\x01\x02\x03"}, InvalidTask, "map of arguments"),
    ("an empty payload", {"payload": b""}, InvalidTask, "map of arguments"),
    ("a payload that is text", {"payload": "{}"}, InvalidTask, "map of arguments"),
    ("a payload over the limit", {"payload": b"\x81" + bytes(20_000)}, PayloadTooLarge, "20,001 bytes"),
    ("an id of another length", {"id": b"short"}, InvalidTask, "14 bytes"),
    ("a long description", {"description": "d" * 501}, InvalidTask, "500"),
    ("a long trace", {"trace": "0" * 129}, InvalidTask, "traceparent"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "error", "message"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_is_wrong_is_refused_with_what_would_be_right(
    fields: dict[str, Any], error: type[InvalidTask], message: str
) -> None:
    with pytest.raises(error) as raised:
        Encoder(CONFIG).encode(NewTask(**{"type": "t", **fields}))
    assert type(raised.value) is error
    assert message in str(raised.value)


def test_the_bounds_themselves_are_accepted() -> None:
    Encoder(CONFIG).encode(
        NewTask(
            type="t" * 128,
            priority=9,
            max_attempts=255,
            tenant="a" * 63,
            key="k" * 200,
            run_at=NOW + timedelta(days=400),
            labels={str(i): "x" * 256 for i in range(16)},
        )
    )
