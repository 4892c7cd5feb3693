"""Single submissions that come together go in one call."""

import asyncio
from typing import Any

import pytest

from laneway.errors import LanewayError
from laneway.gateway.coalescer import Coalescer
from laneway.kit.ids import id_text, new_task_id
from laneway.kit.metrics import Timer
from laneway.submit import NewTask, Receipt


async def test_what_arrives_during_a_call_goes_with_the_next_and_an_idle_one_goes_at_once() -> None:
    sizes, gate = [], asyncio.Event()

    async def submit_many(tasks: Any) -> list[Receipt | LanewayError]:
        sizes.append(len(tasks))
        await gate.wait()
        return [Receipt(new_task_id()) for _ in tasks]

    coalescer = Coalescer(submit_many, most=100, sizes=Timer((1.0,)))
    first = asyncio.create_task(coalescer.submit(NewTask(type="t"), 5))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    rest = [asyncio.create_task(coalescer.submit(NewTask(type="t"), 5)) for _ in range(10)]
    await asyncio.sleep(0)
    assert sizes == [1]
    gate.set()
    assert all(isinstance(answer, Receipt) for answer in await asyncio.gather(first, *rest))
    assert sizes == [1, 10]


async def test_a_submission_that_never_left_is_unavailable_and_one_under_way_is_unknown() -> None:
    gate = asyncio.Event()
    seen: list[NewTask] = []

    async def submit_many(tasks: Any) -> list[Receipt | LanewayError]:
        seen.extend(tasks)
        for task in tasks:
            task.id = new_task_id()
        await gate.wait()
        return [Receipt(task.id) for task in tasks]

    coalescer = Coalescer(submit_many, most=100, sizes=Timer((1.0,)))
    first, second = NewTask(type="first"), NewTask(type="second")
    sent = asyncio.create_task(coalescer.submit(first, 0.05))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting = asyncio.create_task(coalescer.submit(second, 0.05))
    unknown, unavailable = await sent, await waiting
    assert type(unknown).__name__ == "OutcomeUnknown" and type(unavailable).__name__ == "Unavailable"
    assert unknown.task_id == id_text(first.id)  # type: ignore[union-attr,arg-type]
    gate.set()
    await coalescer.close()
    assert [task.type for task in seen] == ["first"], "what was given up before it left is never sent"


async def test_too_many_waiting_submissions_are_refused_at_once() -> None:
    gate = asyncio.Event()

    async def submit_many(tasks: Any) -> list[Receipt | LanewayError]:
        await gate.wait()
        return [Receipt(new_task_id()) for _ in tasks]

    coalescer = Coalescer(submit_many, most=2, sizes=Timer((1.0,)))
    first = asyncio.create_task(coalescer.submit(NewTask(type="t"), 5))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting = [asyncio.create_task(coalescer.submit(NewTask(type="t"), 5)) for _ in range(2)]
    await asyncio.sleep(0)
    refused = await coalescer.submit(NewTask(type="t"), 5)
    assert "2 submissions wait" in str(refused)
    gate.set()
    assert all(isinstance(answer, Receipt) for answer in await asyncio.gather(first, *waiting))


async def test_a_defect_in_submitting_reaches_every_caller_and_the_next_call_goes_on() -> None:
    broken = True

    async def submit_many(tasks: Any) -> list[Receipt | LanewayError]:
        if broken:
            raise ZeroDivisionError
        return [Receipt(new_task_id()) for _ in tasks]

    coalescer = Coalescer(submit_many, most=9, sizes=Timer((1.0,)))
    with pytest.raises(ZeroDivisionError):
        await coalescer.submit(NewTask(type="t"), 5)
    broken = False
    assert isinstance(await coalescer.submit(NewTask(type="t"), 5), Receipt)
