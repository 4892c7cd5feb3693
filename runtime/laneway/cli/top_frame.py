"""One frame of ``laneway top``: what is looked at, and how it is drawn."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from rich.console import Group
from rich.table import Table
from rich.text import Text

from laneway.cli.output import ago, safe, span, table
from laneway.errors import AccessDenied, InvalidRequest

if TYPE_CHECKING:
    from rich.console import RenderableType

    from laneway.client.http import HttpClient
    from laneway.client.http_answers import History, HistoryPoint, LaneItem, LanePoint, Stats, TaskItem, WorkerItem

_T = TypeVar("_T")
_P = TypeVar("_P", bound="HistoryPoint | LanePoint")
_STEP = timedelta(seconds=10)
#: How far back the curves go, and how often what they are drawn from is read (its steps are 10 s).
_BACK = timedelta(minutes=10)
_HISTORY_EVERY = timedelta(seconds=5)
#: How many dead letters are named.
_DEAD = 3
_BARS = " ▁▂▃▄▅▆▇█"
#: Rows that are there besides those of lanes and workers.
_OTHER_ROWS = 16
_COUNTED = ("submitted", "succeeded", "dead", "cancelled", "expired")


@dataclass
class Frame:
    """What was found. Parts that the gateway does not have, or the credential may not see, are empty; ``rates`` are per
    second since the frame before, or of the last step of the history."""

    stats: Stats
    lanes: list[LaneItem] = field(default_factory=list)
    workers: list[WorkerItem] = field(default_factory=list)
    dead: list[TaskItem] = field(default_factory=list)
    history: History | None = None
    history_at: datetime | None = None
    rates: dict[str, float] = field(default_factory=dict)

    @property
    def last(self) -> HistoryPoint | None:
        """The last whole step of the history."""
        return _last_whole(self.history.points if self.history is not None else [], self.stats.at)

    def document(self) -> dict[str, Any]:
        """The frame as JSON."""
        return {
            "queue": self.stats.queue,
            "at": self.stats.raw["at"],
            "rates": {name: round(rate, 3) for name, rate in self.rates.items()},
            "latency": self.latency(),
            "stats": self.stats.raw,
            "lanes": [lane.raw for lane in self.lanes],
            "workers": [worker.raw for worker in self.workers],
            "dead": [letter.raw for letter in self.dead],
        }

    def latency(self) -> dict[str, float | None]:
        """The last wait and run times that the history has, in seconds."""
        points = self.history.points if self.history is not None else []
        found: dict[str, float | None] = {}
        for name in ("wait_p50", "wait_p99", "run_p50", "run_p99"):
            found[name.replace("_p", "P")] = next(
                (value for point in reversed(points[-6:]) if (value := getattr(point, name)) is not None), None
            )
        return found


def _last_whole(points: Sequence[_P], now: datetime) -> _P | None:
    """The last step that is over: the one that goes on counts only a part of its 10 s."""
    return next((point for point in reversed(points) if point.at + _STEP <= now), None)


async def look(client: HttpClient, before: Frame | None) -> Frame:
    """Looks at the queue.

    Raises:
        LanewayError: its numbers are not to be had.
    """
    now = datetime.now(UTC)
    fresh = before is not None and before.history_at is not None and now - before.history_at < _HISTORY_EVERY
    stats, lanes, workers, dead, history = await asyncio.gather(
        client.stats(),
        _if_there(client.lanes()),
        _if_there(client.workers()),
        _if_there(client.dead_page(limit=_DEAD)),
        _nothing() if fresh else _if_there(client.history(since=now - _BACK, step="10s")),
    )
    frame = Frame(stats, lanes or [], workers or [], dead.items if dead is not None else [])
    if fresh and before is not None:
        frame.history, frame.history_at = before.history, before.history_at
    else:
        frame.history, frame.history_at = history, now
    frame.rates = _rates(frame, before)
    return frame


async def _nothing() -> None:
    return None


async def _if_there(call: Awaitable[_T]) -> _T | None:
    """An answer; None when this gateway has no such resource, or the credential may not see it."""
    try:
        return await call
    except (InvalidRequest, AccessDenied):
        return None


def _rates(frame: Frame, before: Frame | None) -> dict[str, float]:
    if before is not None:
        seconds = (frame.stats.at - before.stats.at).total_seconds()
        if seconds > 0:
            # (tasks that are purged leave their state, so a count may fall)
            return {
                name: max(0.0, (frame.stats.tasks.get(name, 0) - before.stats.tasks.get(name, 0)) / seconds)
                for name in _COUNTED
            }
        return before.rates
    if frame.last is None:
        return {}
    return {name: getattr(frame.last, name) / 10.0 for name in _COUNTED}


def draw(name: str, frame: Frame, height: int | None, note: str = "") -> RenderableType:
    """A frame in at most ``height`` lines (None: as many as it takes)."""
    room = None if height is None else max(2, height - _OTHER_ROWS - len(frame.dead))
    lanes = frame.lanes if room is None else frame.lanes[: max(1, room // 2)]
    workers = sorted(frame.workers, key=lambda worker: worker.name)
    shown = workers if room is None else workers[: max(1, room - len(lanes))]
    parts: list[RenderableType] = [_head(name, frame), _numbers(frame), _curves(frame), Text()]
    if lanes:
        parts.append(_lanes(frame, lanes))
    parts.append(_worker_table(shown, len(workers)))
    if frame.dead:
        parts += [Text(), *_dead(frame.dead)]
    if note:
        parts.append(Text(safe(note), "bold red"))
    return Group(*parts)


def _head(name: str, frame: Frame) -> Text:
    head = Text.assemble("laneway top: ", (safe(name), "bold"), f" at {frame.stats.at.astimezone():%H:%M:%S}, ")
    head.append(f"drift {frame.stats.drift:,}", "green" if frame.stats.drift == 0 else "bold red")
    if frame.stats.outbox_gap:
        head.append(f", {frame.stats.outbox_gap:,} events gave way", "red")
    return head


def _numbers(frame: Frame) -> RenderableType:
    counts, rates, times = frame.stats.tasks, frame.rates, frame.latency()
    dead = counts.get("dead", 0)
    sizes = [(state, counts.get(state, 0)) for state in ("queued", "running", "scheduled", "parked")]
    sizes += [(state, counts[state]) for state in ("blocked", "dispatched") if counts.get(state)]
    line = Text()
    for state, n in sizes:
        line.append(f"{state} ", "dim").append(f"{n:,}  ", "bold")
    line.append("dead ", "dim").append(f"{dead:,}", "bold red" if dead else "bold")
    flow = Text()
    for what in _COUNTED:
        if what in rates and (rates[what] or what in ("submitted", "succeeded", "dead")):
            flow.append(f"{what} ", "dim").append(f"{rates[what]:,.1f}/s  ", "bold")
    if not rates:
        flow.append("rates are known after two looks", "dim")
    wait = f"{span(times['waitP50'])} / {span(times['waitP99'])}"
    run = f"{span(times['runP50'])} / {span(times['runP99'])}"
    flow.append("wait p50/p99 ", "dim").append(wait, "bold").append("  run p50/p99 ", "dim").append(run, "bold")
    return Group(line, flow)


def _curves(frame: Frame) -> RenderableType:
    points = frame.history.points if frame.history is not None else []
    points = [point for point in points if point.at + _STEP <= frame.stats.at]
    grid = Table.grid(padding=(0, 2))
    for title, values in (
        ("done/s", [point.succeeded / 10.0 for point in points]),
        ("queued", [point.queued or 0.0 for point in points]),
    ):
        most = max(values, default=0.0)
        grid.add_row(Text(title, "dim"), Text(_curve(values), "cyan"), Text(f"at most {most:,.1f}", "dim"))
    return grid if points else Text("no history yet", "dim")


def _curve(values: Sequence[float], width: int = 60) -> str:
    """Values as a row of bars, the newest on the right."""
    shown = list(values)[-width:]
    most = max(shown, default=0.0)
    if most <= 0:
        return _BARS[1] * len(shown)
    return "".join(_BARS[max(1, round(value / most * 8))] if value > 0 else _BARS[1] for value in shown)


def _lanes(frame: Frame, lanes: Sequence[LaneItem]) -> RenderableType:
    history = frame.history.lanes if frame.history is not None else {}
    rows = []
    for lane in lanes:
        last = _last_whole(history.get(lane.name) or [], frame.stats.at)
        notes = [name for name in ("paused", "removed") if lane.raw.get(name)]
        most = f"{lane.running:,}/{lane.max_running:,}" if lane.max_running else f"{lane.running:,}"
        rows.append(
            (
                lane.name, lane.priority, lane.queued, most, _per_second(last.submitted if last else None),
                _per_second(last.started if last else None), span(last.wait_p99 if last else None),
                span(lane.oldest_seconds), span(lane.eta_seconds), ", ".join(notes),
            )
        )  # fmt: skip
    columns = ("lane", "prio", "queued", "running", "in/s", "out/s", "wait p99", "oldest", "starts in", "")
    return table(columns, rows)


def _per_second(n: float | None) -> str:
    return "-" if n is None else f"{n / 10.0:,.1f}"


def _worker_table(workers: Sequence[WorkerItem], total: int) -> RenderableType:
    if not workers:
        return Text("no workers are registered", "yellow")
    rows = [
        (w.name, w.state, _filled(w.running, w.slots), f"{w.running:,}/{w.slots:,}", f"{span(w.last_beat_seconds)} ago")
        for w in workers
    ]
    grid = table(("worker", "state", "", "slots", "heartbeat"), rows)
    return grid if len(workers) == total else Group(grid, Text(f"and {total - len(workers):,} more workers", "dim"))


def _filled(running: int, slots: int, width: int = 20) -> str:
    filled = round(min(1.0, running / slots) * width) if slots else 0
    return "█" * filled + "░" * (width - filled)


def _dead(letters: Sequence[TaskItem]) -> list[RenderableType]:
    lines: list[RenderableType] = [Text("newest dead letters", "dim")]
    for letter in letters:
        error = f"{letter.error.kind}: {letter.error.message}" if letter.error is not None else ""
        text = f"{letter.id} {letter.type} {ago(letter.ended_at or letter.state_since)}  {' '.join(error.split())}"
        lines.append(Text(safe(text), "red", no_wrap=True, overflow="ellipsis"))
    return lines
