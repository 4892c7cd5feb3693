"""The command line that starts a worker process says what its options say: the program itself reads it back."""

from __future__ import annotations

import sys
from typing import Any

import click
import pytest

from laneway.cli.main import main
from laneway.cli.worker import worker
from laneway.roles.worker_options import WorkerOptions, worker_command


def read_back(arguments: list[str]) -> dict[str, Any]:
    """What the command makes of its arguments, below the whole program: click keeps a command's first --help."""
    program = click.Context(main, info_name="laneway", **main.context_settings)
    return worker.make_context("worker", arguments, parent=program).params


@pytest.mark.parametrize("task_logs", [True, False])
def test_every_option_comes_back_from_the_command_line(task_logs: bool) -> None:
    options = WorkerOptions(
        "a.b:app", "redis://127.0.0.1:1", "q", namespace="n", slots=3, threads=4, processes=2, drain=1.5,
        recycle_tasks=7, recycle_mb=8, metrics_port=9100, metrics_host="127.0.0.1", name="w", task_logs=task_logs,
    )  # fmt: skip
    command = worker_command(options)
    assert command[:5] == [sys.executable, "-m", "laneway", "worker", "a.b:app"]
    read = read_back(command[4:])
    for name in (
        "namespace", "slots", "threads", "processes", "drain", "recycle_tasks", "recycle_mb", "metrics_port",
        "metrics_host", "name", "task_logs", "log_level", "log_format",
    ):  # fmt: skip
        assert read[name] == getattr(options, name), name


def test_task_logs_are_turned_off_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANEWAY_TASK_LOGS", "false")
    assert read_back(["a:app", "-q", "q"])["task_logs"] is False
