"""The submit stage over a store that answers as told: batches, results per task, lost answers."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from laneway.errors import (
    IdempotencyConflict,
    InvalidTask,
    LanewayError,
    OutcomeUnknown,
    QueueFull,
    RateLimited,
    Unavailable,
    UnknownLane,
)
from laneway.kit.ids import id_text, new_task_id
from laneway.model.config import LaneConfig, QueueConfig
from laneway.ports.store import Submitted
from laneway.submit import NewTask, Receipt, Submitter

Batch = Sequence[tuple[bytes, bytes]]
OLD = QueueConfig(lanes=(LaneConfig(n=1, name="default"), LaneConfig(n=2, name="high")))
NEW = QueueConfig(version=2, lanes=(LaneConfig(n=1, name="default"), LaneConfig(n=7, name="high")))


class AnsweringStore:
    """Answers submissions by a function, and remembers what was sent."""

    def __init__(self, answer: Callable[[int, bytes, bytes], Submitted] | None = None) -> None:
        self.answer = answer or (lambda call, id, envelope: Submitted("accepted", id))
        self.calls: list[Batch] = []
        self.current = OLD
        self.reloads = 0

    async def config(self, *, reload: bool = False) -> QueueConfig:
        if reload:
            self.reloads += 1
            self.current = NEW
        return self.current

    async def submit(self, batch: Batch) -> list[Submitted]:
        self.calls.append(batch)
        return [self.answer(len(self.calls), id, envelope) for id, envelope in batch]


def submitter(store: Any) -> Submitter:
    return Submitter(store)


async def test_tasks_are_sent_in_order_at_most_500_to_a_call() -> None:
    store = AnsweringStore()
    tasks = [NewTask(type="t") for _ in range(1201)]
    results = await submitter(store).submit_many(tasks)
    assert [len(batch) for batch in store.calls] == [500, 500, 201]
    assert [id for batch in store.calls for id, _ in batch] == [task.id for task in tasks]
    assert [task.id for task in tasks] == sorted(task.id or b"" for task in tasks)
    assert results == [Receipt(task.id or b"") for task in tasks]


async def test_large_payloads_make_smaller_calls() -> None:
    store = AnsweringStore()
    noise = b"\x81\xa1d\xc6\x00\x0c\x35\x00" + bytes(i * i % 251 for i in range(800_000))
    store.current = QueueConfig(compress_over=0)
    await submitter(store).submit_many([NewTask(type="t", payload=noise) for _ in range(3)])
    assert [len(batch) for batch in store.calls] == [1, 1, 1]


async def test_nothing_to_submit_makes_no_call() -> None:
    store = AnsweringStore()
    assert await submitter(store).submit_many([]) == []
    assert store.calls == []


async def test_a_wrong_task_is_refused_alone() -> None:
    store = AnsweringStore()
    good, bad = NewTask(type="t"), NewTask(type="t", priority=12)
    first, second, third = await submitter(store).submit_many([good, bad, NewTask(type="t")])
    assert isinstance(first, Receipt) and isinstance(third, Receipt)
    assert isinstance(second, InvalidTask)
    assert len(store.calls[0]) == 2


@pytest.mark.parametrize(
    ("code", "fields", "error", "message"),
    [
        ("rate", {"retry_ms": 250, "scope": "tenant"}, RateLimited, "the tenant is over its submission rate"),
        ("depth", {"scope": "1000"}, QueueFull, "as many tasks as it may (1000)"),
        ("backlog", {"retry_ms": 1000}, Unavailable, "log of events"),
        ("malformed", {}, InvalidTask, "another version"),
        ("surprise", {}, LanewayError, "'surprise'"),
    ],
)  # fmt: skip
async def test_a_refusal_is_raised_by_its_code(
    code: str, fields: dict[str, Any], error: type[LanewayError], message: str
) -> None:
    store = AnsweringStore(lambda call, id, envelope: Submitted(code, id, **fields))
    with pytest.raises(error) as raised:
        await submitter(store).submit(NewTask(type="t"))
    assert type(raised.value) is error and message in str(raised.value)
    (result,) = await submitter(store).submit_many([NewTask(type="t")])
    assert type(result) is error and str(result) == str(raised.value)


async def test_a_rate_limit_says_when_to_come_back() -> None:
    store = AnsweringStore(lambda call, id, envelope: Submitted("rate", id, 250, "lane"))
    with pytest.raises(RateLimited) as raised:
        await submitter(store).submit(NewTask(type="t"))
    assert (raised.value.retry_after, raised.value.scope) == (0.25, "lane")


async def test_a_conflict_names_the_task_that_holds_the_key() -> None:
    first = new_task_id()
    store = AnsweringStore(lambda call, id, envelope: Submitted("conflict", first))
    with pytest.raises(IdempotencyConflict) as raised:
        await submitter(store).submit(NewTask(type="t", key="order-7"))
    assert raised.value.task_id == id_text(first)
    assert "'order-7'" in str(raised.value) and id_text(first) in str(raised.value)


async def test_a_conflict_of_ids_says_so() -> None:
    store = AnsweringStore(lambda call, id, envelope: Submitted("conflict", id))
    with pytest.raises(IdempotencyConflict, match=r"the task id .* can't be used for this task"):
        await submitter(store).submit(NewTask(type="t"))


async def test_a_duplicate_gives_the_first_id() -> None:
    first = new_task_id()
    store = AnsweringStore(lambda call, id, envelope: Submitted("duplicate", first))
    assert await submitter(store).submit(NewTask(type="t", key="k")) == Receipt(first, True)


async def test_a_lane_that_got_another_number_meanwhile_is_encoded_anew_once() -> None:
    def answer(call: int, id: bytes, envelope: bytes) -> Submitted:
        return Submitted("accepted" if envelope[2] in (1, 7) else "lane", id)

    store = AnsweringStore(answer)
    receipt = await submitter(store).submit(NewTask(type="t", lane="high"))
    assert [batch[0][1][2] for batch in store.calls] == [2, 7]
    assert store.calls[0][0][0] == store.calls[1][0][0] == receipt.id
    assert store.reloads == 1

    store = AnsweringStore(answer)
    results = await submitter(store).submit_many([NewTask(type="t", lane=lane) for lane in (None, "high", None)])
    assert all(isinstance(result, Receipt) for result in results)
    assert [len(batch) for batch in store.calls] == [3, 1]


async def test_a_lane_that_is_still_refused_after_reloading_is_unknown() -> None:
    store = AnsweringStore(lambda call, id, envelope: Submitted("lane", id))
    with pytest.raises(UnknownLane):
        await submitter(store).submit(NewTask(type="t", lane="high"))
    (result,) = await submitter(store).submit_many([NewTask(type="t", lane="high")])
    assert isinstance(result, UnknownLane)
    assert store.reloads == 2 and len(store.calls) == 4


async def test_a_lost_answer_names_the_task_and_the_same_object_may_be_sent_again() -> None:
    lost = OutcomeUnknown("no answer within 5 s")

    def answer(call: int, id: bytes, envelope: bytes) -> Submitted:
        if call == 1:
            raise lost
        return Submitted("duplicate", id)

    store = AnsweringStore(answer)
    stage, task = submitter(store), NewTask(type="t", key="k", payload=b"\x81\xa1a\x01")
    with pytest.raises(OutcomeUnknown) as raised:
        await stage.submit(task)
    assert task.id is not None and raised.value.task_id == id_text(task.id)
    assert await stage.submit(task) == Receipt(task.id, True)
    assert store.calls[0] == store.calls[1]


async def test_when_redis_goes_away_between_batches_each_task_says_what_is_known_of_it() -> None:
    def answer(call: int, id: bytes, envelope: bytes) -> Submitted:
        if call == 2:
            raise OutcomeUnknown("no answer")
        return Submitted("accepted", id)

    store = AnsweringStore(answer)
    tasks = [NewTask(type="t") for _ in range(1300)]
    results = await submitter(store).submit_many(tasks)
    assert all(isinstance(result, Receipt) for result in results[:500])
    assert all(isinstance(result, OutcomeUnknown) for result in results[500:1000])
    assert all(isinstance(result, Unavailable) and "not sent" in str(result) for result in results[1000:])
    unknown = results[500]
    assert isinstance(unknown, OutcomeUnknown) and tasks[500].id is not None
    assert unknown.task_id == id_text(tasks[500].id)
    assert len(store.calls) == 2


async def test_one_object_submitted_twice_in_a_batch_is_one_task() -> None:
    store = AnsweringStore()
    task = NewTask(type="t")
    await submitter(store).submit_many([task, task])
    assert store.calls[0][0] == store.calls[0][1]
