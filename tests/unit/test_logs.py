"""Logs: JSON for machines, a console for people, and the task that a line is about."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from laneway.kit.logs import enter_task, get_logger, leave_task, setup_logging, task_scope

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def out() -> io.StringIO:
    stream = io.StringIO()
    setup_logging("info", "json", stream)
    return stream


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_an_event_is_one_json_line_with_its_fields(out: io.StringIO) -> None:
    get_logger("laneway.x").info("worker registered", worker="w1", name="n", message="m", args=(1,), pct="5%")
    (line,) = lines(out)
    assert line.pop("at").endswith("Z")
    assert line == {
        "event": "worker registered", "worker": "w1", "name": "n", "message": "m", "args": [1], "pct": "5%",
        "level": "info", "logger": "laneway.x",
    }  # fmt: skip


def test_lines_within_a_task_carry_task_attempt_and_trace_whoever_writes_them(out: io.StringIO) -> None:
    with task_scope("t1", 2, TRACE):
        get_logger("laneway.x").info("ours")
        logging.getLogger("somebody").warning("theirs %d", 3, extra={"z": 1})
        structlog.get_logger("laneway.y").info("structlog's own")
    get_logger("laneway.x").info("after")
    *within, after = lines(out)
    assert [line["event"] for line in within] == ["ours", "theirs 3", "structlog's own"]
    assert {(line["task"], line["attempt"], line["trace"]) for line in within} == {
        ("t1", 2, "0af7651916cd43dd8448eb211c80319c")
    }
    assert within[1]["z"] == 1
    assert "task" not in after


async def test_tasks_that_run_at_once_do_not_mix_their_ids(out: io.StringIO) -> None:
    log = get_logger("laneway.x")
    both = asyncio.Barrier(2)

    async def work(name: str) -> None:
        token = enter_task(name, 1)
        await both.wait()
        log.info("working", expected=name)
        leave_task(token)

    await asyncio.gather(work("t1"), work("t2"))
    assert all(line["task"] == line["expected"] for line in lines(out))


def test_an_exception_comes_with_its_traceback(out: io.StringIO) -> None:
    try:
        raise ZeroDivisionError("by zero")
    except ZeroDivisionError:
        get_logger("laneway.x").exception("broke")
    assert "ZeroDivisionError: by zero" in lines(out)[0]["exception"]


def test_whatever_is_logged_the_line_comes_out(out: io.StringIO) -> None:
    get_logger("laneway.x").info("odd", a={("tuple", 1): 2}, b=object, c=b"\xff", d="\ud800")
    (line,) = lines(out)
    assert line["event"] == "odd" and line["a"] == "{('tuple', 1): 2}"


def test_lines_under_the_level_are_left_out() -> None:
    out = io.StringIO()
    setup_logging("warning", "json", out)
    get_logger("laneway.x").info("no")
    get_logger("laneway.x").warning("yes")
    assert [line["event"] for line in lines(out)] == ["yes"]


def test_setting_up_again_changes_the_settings(out: io.StringIO) -> None:
    second = io.StringIO()
    setup_logging("info", "console", second)
    get_logger("laneway.x").info("hello", worker="w1")
    assert out.getvalue() == ""
    assert "hello" in second.getvalue() and "worker=w1" in second.getvalue()


def test_without_setup_an_application_sees_a_readable_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        get_logger("laneway.x").info("worker registered", worker="w1")
    assert caplog.records[0].getMessage() == "worker registered worker=w1"


@pytest.mark.parametrize(
    ("level", "format", "message"),
    [
        ("loud", "json", "log level must be one of debug, info, warning, error, critical, not 'loud'"),
        ("info", "xml", "log format must be one of json, console, not 'xml'"),
    ],
)
def test_unknown_settings_are_refused_with_those_there_are(level: str, format: str, message: str) -> None:
    before = list(logging.getLogger().handlers)
    with pytest.raises(ValueError, match=message):
        setup_logging(level, format)
    assert logging.getLogger().handlers == before


def test_what_a_library_repeats_is_said_once_in_a_while_and_then_with_how_often(
    out: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = logging.getLogger("aiokafka.client")
    at = [1000.0]
    monkeypatch.setattr("logging.time.time", lambda: at[0])
    monkeypatch.setattr("logging.time.time_ns", lambda: int(at[0] * 1e9), raising=False)
    for broker in range(50):
        library.error("Unable to connect to %s", broker)
    logging.getLogger("somebody").error("ours")
    logging.getLogger("somebody").error("ours")
    at[0] += 11
    library.error("Unable to connect to %s", 7)
    assert [line["event"] for line in lines(out)] == [
        "Unable to connect to 0", "ours", "ours", "Unable to connect to 7 (49 more like it were left out)",
    ]  # fmt: skip
