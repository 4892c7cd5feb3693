"""laneway.testing: what handlers tell of themselves, in virtual time."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from laneway import App, Backoff, Context, Snooze, State
from laneway.execute.task_logs import line_of
from laneway.kit.ids import id_bytes
from laneway.kit.logs import formatter
from laneway.testing import TestQueue

EXACT = Backoff(base=60.0, jitter=0.0)


@pytest.fixture
def app() -> App:
    app = App("import")

    @app.task(max_attempts=3, backoff=EXACT)
    async def rows(ctx: Context, total: int, fails_at: int) -> list[int]:
        """Imports rows, saving after each; fails once."""
        done: list[int] = ctx.saved or []
        for n in range(len(done), total):
            if n == fails_at and ctx.attempt == 1:
                raise ConnectionError("the source is away")
            done.append(n)
            ctx.progress(len(done) / total, f"row {n + 1} of {total}")
            await ctx.checkpoint(done)
            ctx.log.info("imported", row=n)
        return done

    @app.task
    def pages(ctx: Context) -> Any:
        """One page each run; snoozes between them."""
        page = (ctx.saved or 0) + 1
        ctx.sync.checkpoint(page)
        logging.getLogger("app.pages").warning("page %d", page)
        return Snooze(3600) if page < 3 else page

    return app


async def test_the_next_attempt_goes_on_where_the_last_one_was(app: App) -> None:
    async with TestQueue(app, start=datetime(2026, 1, 1, tzinfo=UTC)) as queue:
        handle = await app.submit(app.call("rows", {"total": 4, "fails_at": 2}))

        (task,) = queue.submitted()
        assert (task.progress, task.saved, task.logs) == (None, None, [])
        task = await queue.run_one()  # type: ignore[assignment]
        assert task.state is State.SCHEDULED and task.saved == [0, 1]
        assert task.progress is not None and (task.progress.fraction, task.progress.message) == (0.5, "row 2 of 4")

        await queue.drain()
        assert await handle.result() == [0, 1, 2, 3]
        (task,) = queue.submitted()
        assert [(line.attempt, line.message) for line in task.logs] == [
            (1, "imported row=0"), (1, "imported row=1"), (2, "imported row=2"), (2, "imported row=3"),
        ]  # fmt: skip
        first, last = task.logs[0].at, task.logs[-1].at
        assert last - first == 60_000, "lines carry the queue's own time"


async def test_a_task_that_snoozes_goes_on_from_its_checkpoint_and_logs_of_the_standard_library_are_kept(
    app: App,
) -> None:
    async with TestQueue(app) as queue:
        handle = await app.submit(app.call("pages"))
        began = queue.now
        await queue.drain()
        assert await handle.result() == 3
        assert queue.now - began >= timedelta(hours=2)
        (task,) = queue.submitted()
        assert [(line.level, line.message) for line in task.logs] == [
            ("warning", "page 1"), ("warning", "page 2"), ("warning", "page 3"),
        ]  # fmt: skip


async def test_a_replayed_task_goes_on_too_and_what_is_purged_is_gone(app: App) -> None:
    async with TestQueue(app) as queue:
        handle = await app.submit(app.call("rows", {"total": 3, "fails_at": 1}, max_attempts=1))
        await queue.run()
        (task,) = queue.dead()
        assert task.saved == [0]
        assert await queue.store.replay([id_bytes(handle.id)]) == ["queued"]
        (task,) = queue.submitted()
        assert task.saved == [0]
        await queue.run()  # (the first attempt again, and again it fails at row 1)
        (task,) = queue.dead()
        assert [line.message for line in task.logs] == ["imported row=0"]
        assert await queue.store.purge([id_bytes(handle.id)]) == 1
        (task,) = queue.submitted()
        assert (task.state, task.saved, task.logs) == (None, None, [])


class _Silent:
    """A value that can't be shown in the way ``fails`` names."""

    def __init__(self, *fails: str) -> None:
        self._fails = fails

    def __repr__(self) -> str:
        if "repr" in self._fails:
            raise ValueError("no connection")
        return "silent"

    def __str__(self) -> str:
        if "str" in self._fails:
            raise ValueError("no connection")
        return "silent"


async def test_a_value_that_can_not_be_shown_fails_no_handler_that_logs_it() -> None:
    app = App("silent")

    @app.task
    async def tells(ctx: Context) -> str:
        ctx.log.info("read", r=_Silent("repr", "str"), n=1)
        ctx.log.info("read", r=_Silent("repr"))
        ctx.log.info("read", r=[_Silent("repr")], n={"a": 1})
        ctx.log.info(_Silent("str"))  # type: ignore[arg-type]
        return "done"

    output = logging.StreamHandler(io.StringIO())
    output.setFormatter(formatter("json"))
    logger = logging.getLogger("laneway.task.tells")
    logger.addHandler(output)
    logger.setLevel("INFO")
    try:
        async with TestQueue(app) as queue:
            handle = await app.submit(app.call("tells"))
            await queue.drain()
            assert await handle.result() == "done"
            (task,) = queue.submitted()
    finally:
        logger.removeHandler(output)
        logger.setLevel("NOTSET")
    assert [line.message for line in task.logs] == [
        "read r=<unprintable _Silent> n=1",
        "read r=silent",
        "read r=<unprintable list> n={'a': 1}",
        "<unprintable _Silent>",
    ]
    lines = [json.loads(line) for line in output.stream.getvalue().splitlines()]
    assert [(line["event"], line.get("r"), line.get("n")) for line in lines] == [
        ("read", "<unprintable _Silent>", 1),
        ("read", "<unprintable _Silent>", None),
        ("read", "<unprintable list>", {"a": 1}),
        ("<unprintable _Silent>", None, None),
    ]


def test_a_line_of_the_standard_library_whose_arguments_can_not_be_shown_is_kept() -> None:
    for message, args in (("read %s", (_Silent("str"),)), ("read %s %s", (1,))):
        record = logging.LogRecord("shop", logging.INFO, "shop.py", 1, message, args, None)
        assert line_of(record) == f"{message} <unprintable arguments>"


def test_without_an_event_loop_it_is_the_same(app: App) -> None:
    with TestQueue(app).sync() as queue:
        handle = app.sync.submit(app.call("rows", {"total": 2, "fails_at": 1}))
        queue.drain()
        assert handle.result() == [0, 1]
        (task,) = queue.submitted()
        assert task.saved == [0, 1]


async def test_what_a_handler_tells_can_be_seen_while_it_runs() -> None:
    app = App("live")
    go_on = asyncio.Event()
    told = asyncio.Event()

    @app.task
    async def slow(ctx: Context) -> None:
        ctx.progress(0.25)
        await ctx.checkpoint("here")
        told.set()
        await go_on.wait()

    async with TestQueue(app) as queue:
        await slow.submit()
        running = asyncio.create_task(queue.run())
        await told.wait()
        (task,) = queue.submitted()
        assert task.state is State.RUNNING and task.saved == "here"
        assert task.progress is not None and task.progress.fraction == 0.25
        go_on.set()
        assert await running == 1


async def test_app_types_can_be_announced_and_read_in_a_test(app: App) -> None:
    async with TestQueue(app) as queue:
        assert await queue.store.notes.announce("1", app.describe_tasks())
        assert [each.type for each in await queue.store.notes.types()] == ["pages", "rows"]
        store = await app.store()
        assert len(await store.notes.types()) == 2

        def elsewhere() -> int:
            async def count() -> int:
                return len(await (await app.store()).notes.types())

            return asyncio.run(count())

        assert await asyncio.to_thread(elsewhere) == 2
