"""Checkpoints, progress and log lines with real workers: killed, drained, and read over HTTP afterwards."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import msgspec
from tests.flow.harness import Flow, until

from laneway.kit.ids import id_text
from laneway.model.states import State


def _told(flow: Flow, id: bytes, lines: int) -> Callable[[], Awaitable[bool]]:
    """Whether the task's handler has told so many lines, and saved as many steps."""

    async def told() -> bool:
        (found,) = await flow.store.notes.told([id])
        (saved,) = await flow.store.notes.saved([id])
        return found is not None and found.lines >= lines and saved is not None and saved.data == bytes([lines])

    return told


async def _result(flow: Flow, id: bytes) -> tuple[Any, int]:
    """What the task returned, and its attempts."""

    async def ended() -> Any:
        (view,) = await flow.store.get([id])
        return view if view is not None and view.state.final else None

    view = await until("the task has ended", ended, 20.0)
    assert view.state is State.SUCCEEDED, view.errors
    return msgspec.msgpack.decode(view.result), view.record.attempts


async def test_a_task_whose_worker_is_killed_goes_on_from_its_checkpoint_and_both_attempts_lines_are_read(
    flow: Flow,
) -> None:
    await flow.poller()
    victim = await flow.worker(slots=2)
    (id,) = await flow.submit("resumes", 1, arguments={"steps": 6, "stops_at": 3})
    await until("three steps are saved and told", _told(flow, id, 3), 15.0)
    (progress,) = await flow.store.notes.progress([id])
    assert progress is not None and (progress.fraction, progress.message) == (0.5, "step 2")
    await victim.kill()
    flow.release()
    await flow.worker(slots=2)
    taken, attempts = await _result(flow, id)
    assert taken == [3, 4, 5], "the steps of the first attempt were not taken again"
    assert attempts == 2
    assert len({run.pid for run in flow.starts({id})}) == 2

    gateway = await flow.gateway()
    url = f"http://127.0.0.1:{gateway.port}/api/v1/queues/{flow.queue}/tasks/{id_text(id)}"
    async with httpx.AsyncClient(timeout=5.0) as http:
        page = (await http.get(f"{url}/logs")).raise_for_status().json()
        shown = (await http.get(url)).raise_for_status().json()
    assert [(line["attempt"], line["message"]) for line in page["lines"]] == [
        (1 if number < 3 else 2, f"step number={number}") for number in range(6)
    ]
    assert shown["progress"]["fraction"] == 1.0
    await flow.check()


async def test_a_task_that_is_handed_back_by_a_drain_goes_on_from_its_checkpoint_with_no_attempt_burnt(
    flow: Flow,
) -> None:
    await flow.poller()
    first = await flow.worker(slots=2, drain=0.1)
    (id,) = await flow.submit("resumes", 1, arguments={"steps": 4, "stops_at": 2})
    await until("two steps are saved and told", _told(flow, id, 2), 15.0)
    assert await first.stop() == 0
    flow.release()
    await flow.worker(slots=2)
    taken, attempts = await _result(flow, id)
    assert (taken, attempts) == ([2, 3], 1)
    page = await flow.store.notes.logs(id)
    assert [line.message for line in page.lines] == [f"step number={number}" for number in range(4)]
    await flow.check()


async def test_the_types_of_a_workers_application_are_known_with_their_schemas(direct_flow: Flow) -> None:
    flow = direct_flow
    await flow.worker()
    await flow.worker()

    async def announced() -> Any:
        return await flow.store.notes.types()

    types = {each.type: each for each in await until("the types are announced", announced)}
    assert types["resumes"].schema["required"] == ["steps", "stops_at"]
    assert types["in_process"].kind == "process" and types["in_process"].description == "Runs in a process of its own."
    assert types["work"].schema["properties"]["ms"] == {"type": "number", "default": 0.0}
    fields = await flow.redis.hkeys(flow.store.keys.key("types"))
    assert len(fields) == 2, "two workers of one application announce it once"
