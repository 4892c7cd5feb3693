"""A task for people to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from laneway.cli.output import ago, clock, print_drawn, safe, span

if TYPE_CHECKING:
    from rich.console import RenderableType

    from laneway.client.http_answers import AttemptError, Moment, TaskDetail, Waits

STYLES = {
    "queued": "cyan",
    "scheduled": "cyan",
    "parked": "yellow",
    "blocked": "yellow",
    "dispatched": "blue",
    "running": "blue",
    "succeeded": "green",
    "dead": "red",
    "cancelled": "magenta",
    "expired": "magenta",
}


_ENDED = ("succeeded", "dead", "cancelled", "expired")


def print_task(task: TaskDetail) -> None:
    """Draws all that is known of a task on standard output."""
    from rich.console import Group
    from rich.panel import Panel
    from rich.text import Text

    parts: list[RenderableType] = [_facts(task)]
    if task.history:
        parts += _section("history", "\n".join(_moment(moment) for moment in task.history))
    hidden = "(not shown: the credential lacks the permission payloads)"
    parts += _section("payload", hidden if task.redacted else _pretty(task.payload))
    for error in task.errors:
        parts += _section(_error_title(error), safe(error.traceback or error.message).rstrip(), "red")
    if task.state == "succeeded":
        parts += _section("result", hidden if task.redacted else _pretty(task.result))
    style = STYLES.get(task.state, "")
    title = Text.assemble(("task ", ""), (task.id, "bold"), " ", (task.state, f"bold {style}"))
    print_drawn(Panel(Group(*parts), title=title, title_align="left", border_style=style, padding=(0, 1)))


def _facts(task: TaskDetail) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    rows: list[tuple[str, str]] = [
        ("type", task.type),
        ("queue", task.queue),
        ("lane", f"{task.lane}, priority {task.priority}"),
        ("attempts", _attempts(task)),
        ("submitted", f"{clock(task.submitted_at)} ({ago(task.submitted_at)})"),
        (f"{task.state} since", f"{clock(task.state_since)} ({ago(task.state_since)})"),
    ]
    if task.ended_at and task.ended_at != task.state_since:
        rows.append(("ended", f"{clock(task.ended_at)} ({ago(task.ended_at)})"))
    if task.waits is not None:
        rows.append(("waited, ran", _waits(task.waits)))
    if task.fingerprint:
        rows.append(("group", task.fingerprint + (f", raised in {task.frame}" if task.frame else "")))
    if task.worker:
        rows.append(("worker", task.worker))
    if task.progress is not None:
        rows.append(("progress", f"{task.progress.fraction:.0%} {task.progress.message} ({ago(task.progress.at)})"))
    if task.logs is not None and task.logs.lines:
        rows.append(("log lines", f"{task.logs.lines:,}; see laneway task logs"))
    if task.run_at:
        rows.append(("due", clock(task.run_at)))
    if task.tenant:
        rows.append(("tenant", task.tenant))
    if task.idempotency_key is not None:
        rows.append(("key", task.idempotency_key))
    if task.timeout:
        rows.append(("timeout", span(task.timeout)))
    if task.start_timeout:
        rows.append(("start timeout", span(task.start_timeout)))
    if task.labels:
        rows.append(("labels", ", ".join(f"{name}={value}" for name, value in task.labels.items())))
    if task.description:
        rows.append(("description", task.description))
    if task.trace:
        rows.append(("trace", task.trace))
    if task.cancel_requested:
        rows.append(("asked to stop", "yes; its worker confirms"))
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    for name, value in rows:
        grid.add_row(Text(name), Text(safe(value)))
    return grid


def _moment(moment: Moment) -> str:
    attempt = f" (attempt {moment.attempt})" if moment.attempt else ""
    detail = f": {' '.join(moment.detail.split())}" if moment.detail else ""
    return safe(f"{clock(moment.at):<29} {moment.what}{attempt}{detail}")


def _waits(waits: Waits) -> str:
    waited = "not known (it was replayed)" if waits.wait_seconds is None else span(waits.wait_seconds)
    return f"{waited}, {span(waits.run_seconds)}"


def _attempts(task: TaskDetail) -> str:
    crashes = f", {task.crashes} of them ended with the worker's death" if task.crashes else ""
    most = ""
    if task.max_attempts:
        most = f" of {task.max_attempts}"
    elif task.state not in _ENDED:
        most = " (the worker decides how many there may be)"
    return f"{task.attempts}{most}{crashes}"


def _error_title(error: AttemptError) -> str:
    number = f"attempt {error.attempt}: " if error.attempt else ""
    where = f" on {error.worker}" if error.worker else ""
    message = f": {error.message}" if error.traceback and error.message else ""
    when = f" at {clock(error.at)}" if error.at else ""
    return safe(f"{number}{error.kind}{message}{where}{when}").replace("\n", " ")


def _section(title: str, body: str, style: str = "dim") -> list[RenderableType]:
    from rich.padding import Padding
    from rich.text import Text

    parts: list[RenderableType] = [Text(), Text(title, style)]
    return [*parts, Padding(Text(body), (0, 0, 0, 2))] if body else parts


def _pretty(value: Any) -> str:
    import msgspec

    return safe(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
