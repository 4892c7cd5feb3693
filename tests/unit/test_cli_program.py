"""The program as a whole: help, exit codes, its documentation, and the roles that it starts."""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

import docs_cli
from laneway import errors
from laneway.bench.main import NAMES
from laneway.cli.exits import MEANING, Exit, Failure, exit_of, one_line
from laneway.cli.main import main
from laneway.cli.output import safe, span
from laneway.cli.submit_file import _batches
from laneway.model.servers import KafkaServer, RedisServer

COMMANDS = dict(docs_cli.commands(main, ("laneway",)))


def test_the_reference_page_is_that_of_these_commands() -> None:
    assert docs_cli.PAGE.read_text("utf-8") == docs_cli.page(), "run: python hack/docs_cli.py"


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(path: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, [*path[1:], "--help"])
    assert result.exit_code == 0
    assert f"Usage: {' '.join(path)}" in result.stdout
    assert f"  {' '.join(path[:2])}" in result.stdout.partition("Examples:")[2]
    command = COMMANDS[path]
    unexplained = [p.name for p in command.params if isinstance(p, click.Option) and not p.help]
    assert unexplained == []


def test_help_of_the_program_explains_each_exit_code() -> None:
    out = " ".join(CliRunner().invoke(main, ["--help"]).stdout.split())
    for code, meaning in MEANING.items():
        assert f"{code.value} {meaning}" in out
    assert set(MEANING) == set(Exit)


def test_help_loads_nothing_that_only_running_needs() -> None:
    heavy = [
        "asyncio",
        "redis",
        "rich",
        "aiokafka",
        "starlette",
        "pydantic",
        "uvloop",
        "prometheus_client",
        "httpx",
        "yaml",
    ]
    code = (
        "import sys, contextlib\nfrom laneway.cli.main import main\n"
        "with contextlib.suppress(SystemExit): main(['--help'])\n"
        f"print([name for name in {heavy} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == "[]\n"
    assert "Usage: laneway" in done.stdout


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigError("x"), 2), (errors.ServerRefused("x"), 2), (errors.InvalidTask("x"), 2),
        (errors.UnknownLane("x"), 2), (errors.PayloadTooLarge("x"), 2), (errors.UnknownTask("x"), 3),
        (errors.IdempotencyConflict("x", "id"), 1), (errors.RateLimited("x", 1.0, "lane"), 4),
        (errors.QueueFull("x"), 4), (errors.Unavailable("x"), 5), (errors.OutcomeUnknown("x"), 6),
        (errors.ResultTimeout("x"), 7), (errors.TaskDead("x"), 1), (errors.SchemaTooNew("x"), 1),
        (errors.LeaseLost("x"), 1),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_each_error_has_its_exit_code(error: errors.LanewayError, code: int) -> None:
    assert exit_of(error) == code


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (errors.QueueFull("full\nof tasks"), 4, "laneway: full of tasks\n"),
        (Failure(Exit.TIMEOUT, "late"), 7, "laneway: late\n"),
        (
            KeyError("a\x1b[1m"), 1,
            "laneway: internal error, KeyError: 'a\\x1b[1m' (for the traceback: laneway --debug ...)\n",
        ),
        (KeyboardInterrupt(), 130, "laneway: interrupted\n"),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_an_error_is_one_line_and_a_traceback_only_with_debug(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, said: str
) -> None:
    def fail(**_: Any) -> int:
        raise error

    monkeypatch.setattr(COMMANDS["laneway", "version"], "callback", fail)
    plain = CliRunner().invoke(main, ["version"])
    assert (plain.exit_code, plain.stdout, plain.stderr.lstrip("\n")) == (code, "", said)
    if code != 130:
        debug = CliRunner().invoke(main, ["--debug", "version"])
        assert debug.exit_code == code
        assert "Traceback (most recent call last):" in debug.stderr


def test_version_is_the_package_s() -> None:
    from laneway import __version__

    assert CliRunner().invoke(main, ["version"]).stdout.startswith(f"laneway {__version__} (Python ")
    done = subprocess.run(
        [sys.executable, "-m", "laneway", "version", "--json"], capture_output=True, text=True, check=True, timeout=60
    )
    assert f'"version":"{__version__}"' in done.stdout


def test_messages_and_texts_are_made_harmless() -> None:
    assert one_line(" a\nb\t\x1b[0m\x00c ") == "a b �[0m�c"
    assert safe("a\nb\t\x1b]0;t\x07\r") == "a\nb\t�]0;t��"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"), (0, "0 s"), (0.00016, "0.16 ms"), (0.25, "250 ms"), (1.25, "1.2 s"), (600, "10 min"),
        (7200, "2.0 h"), (864_000, "10 d"),
    ],
)  # fmt: skip
def test_spans_have_a_unit_that_suits_them(seconds: float | None, text: str) -> None:
    assert span(seconds) == text


def test_lines_come_in_batches_as_they_are_read_and_none_is_cut() -> None:
    class Pipe:
        """Gives what is there, in pieces that do not follow the lines."""

        def __init__(self, *pieces: bytes) -> None:
            self.pieces = list(pieces)

        def read1(self, size: int) -> bytes:
            return self.pieces.pop(0) if self.pieces else b""

    pipe: Any = Pipe(b"one\ntw", b"o\nthree", b"", b"never")
    assert list(_batches(pipe)) == [(1, [b"one"], 6), (2, [b"two"], 7), (3, [b"three"], 0)]
    pipe = Pipe(b"a", b"b", b"c\n\nd\n")
    assert list(_batches(pipe)) == [(1, [b"abc", b"", b"d"], 5)]


# -- roles

_COMMON = {"log_format": "json", "log_level": "info"}
_ROLE = {**_COMMON, "redis": RedisServer("redis://127.0.0.1:6379"), "namespace": "default", "cluster": False}

#: (arguments, module, function, options class, what it must be called with)
ROLES: list[tuple[list[str], str, str, str, dict[str, Any]]] = [
    (
        ["worker", "a.b:app", "-q", "orders", "--name", "w"], "laneway.roles.worker", "run_worker", "WorkerOptions",
        {
            **_ROLE, "app": "a.b:app", "queue": "orders", "kafka": None, "slots": 16, "threads": 16, "processes": 1,
            "drain": 25.0, "recycle_tasks": 0, "recycle_mb": 0, "metrics_port": 0,
            "metrics_host": "0.0.0.0", "name": "w", "numbered": False, "task_logs": True,
        },
    ),
    (
        [
            "worker", "a:app", "-q", "q", "--redis", "redis://r:1", "--namespace", "n", "--kafka", "k:9092,l:9092",
            "--slots", "50", "--threads", "9", "--processes", "2", "--drain", "1m", "--recycle-tasks", "10",
            "--recycle-mb", "512", "--metrics-port", "9100", "--log-format", "console", "--log-level", "debug",
            "--name", "w", "--cluster", "--no-task-logs",
        ],
        "laneway.roles.worker", "run_worker", "WorkerOptions",
        {
            "app": "a:app", "queue": "q", "redis": RedisServer("redis://r:1", cluster=True), "namespace": "n",
            "kafka": KafkaServer("k:9092,l:9092"),
            "slots": 50, "threads": 9, "processes": 2, "drain": 60.0, "recycle_tasks": 10, "recycle_mb": 512,
            "metrics_port": 9100, "metrics_host": "0.0.0.0",
            "log_format": "console", "log_level": "debug", "name": "w", "numbered": False, "cluster": False,
            "task_logs": False,
        },
    ),
    (
        ["poller", "-q", "orders", "--kafka", "k:1"], "laneway.roles.poller", "run_poller", "PollerOptions",
        {**_ROLE, "queue": "orders", "kafka": KafkaServer("k:1"), "metrics_port": 0, "metrics_host": "0.0.0.0"},
    ),
    (
        ["gateway", "-q", "a", "-q", "b", "-q", "a"], "laneway.roles.gateway", "run_gateway", "GatewayOptions",
        {**_ROLE, "queues": ("a", "b"), "host": "127.0.0.1", "port": 8080, "linger": 0.0, "auth": None, "kafka": None},
    ),
    (
        ["up", "-f", ".", "--data", "d", "--port", "0"], "laneway.roles.up", "run_up", "UpOptions",
        {
            **_COMMON, "paths": (Path("."),), "redis": None, "kafka": None, "data": Path("d"), "port": 0,
            "namespace": "default",
        },
    ),
    (
        ["demo", "--json", "--examples", "."], "laneway.roles.demo", "run_demo", "DemoOptions",
        {"redis": None, "kafka": None, "json_only": True, "examples": Path(".")},
    ),
]  # fmt: skip


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role[0][0])
def test_a_role_gets_its_options_and_gives_the_exit_code(
    role: tuple[list[str], str, str, str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    args, module_name, function, options_name, expected = role
    for name in [name for name in os.environ if name.startswith(("LANEWAY_", "KUBERNETES_"))]:
        monkeypatch.delenv(name)
    got: list[Any] = []

    def run(options: Any) -> int:
        got.append(options)
        return 75

    monkeypatch.setattr(importlib.import_module(module_name), function, run)
    result = CliRunner().invoke(main, args)
    assert result.exit_code == 75, result.output
    (options,) = got
    assert type(options).__name__ == options_name
    assert {field.name: getattr(options, field.name) for field in dataclasses.fields(options)} == expected


def test_bench_passes_its_settings_on_and_names_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, dict[str, Any]]] = []

    def run(name: str, **options: Any) -> int:
        calls.append((name, options))
        return 0

    monkeypatch.setattr("laneway.bench.main.run", run)
    monkeypatch.delenv("LANEWAY_REDIS_URL", raising=False)

    settings = ["--set", "tasks=10", "--set", "rate=0.5", "--set", "on=true", "--set", "who=me"]
    assert CliRunner().invoke(main, ["bench", "latency", "--json", *settings]).exit_code == 0
    options = {"tasks": 10, "rate": 0.5, "on": True, "who": "me"}
    assert calls == [("latency", {"redis": None, "kafka": None, "json": True, "options": options})]

    result = CliRunner().invoke(main, ["bench", "latencyy"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "there is no bench 'latencyy'; the benches are depth, latency, " in result.stderr
    result = CliRunner().invoke(main, ["bench", "latency", "--set", "n=1", "--set", "n=2"])
    assert (result.exit_code, len(calls)) == (2, 1)
    listed = CliRunner().invoke(main, ["bench"]).stdout
    assert json.loads(CliRunner().invoke(main, ["bench", "--json"]).stdout) == NAMES
    assert all(name in listed and says in listed for name, says in NAMES.items())
