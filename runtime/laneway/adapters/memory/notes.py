"""What handlers tell of themselves, in memory, as in ``lua/note.lua``; and the types that workers announce."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from laneway.adapters.memory.tables import Tables, Task
from laneway.model.notes import (
    BYTES_KEPT,
    LINES_KEPT,
    NOTHING,
    TYPES_KEPT_MS,
    LogLine,
    LogPage,
    Note,
    Progress,
    Saved,
    TaskType,
    Told,
    pack_lines,
    page_of,
)
from laneway.model.states import HELD, State

if TYPE_CHECKING:
    from laneway.adapters.memory.clock import Clock

_HEAD_COST, _SLOT_COST, _SLOT_BYTES, _SLOTS = 128, 8, 2048, 32


@dataclass(slots=True)
class _Slot:
    """Lines that are kept together and go together, as in Redis."""

    lines: list[LogLine]
    size: int


@dataclass(slots=True)
class TaskNotes:
    """What was told of one task; ``last`` is the fence and number of the note that came last."""

    last: tuple[int, int] = (0, 0)
    progress: Progress | None = None
    saved: Saved | None = None
    slots: list[_Slot] = field(default_factory=list)
    n: int = 0

    @property
    def lines(self) -> list[LogLine]:
        """The lines that are kept."""
        return [line for slot in self.slots for line in slot.lines]

    def add(self, lines: Sequence[LogLine]) -> None:
        """Keeps lines; the oldest slots go that are not needed any more."""
        told = [LogLine(line.at, line.attempt, line.level, line.message, self.n + i) for i, line in enumerate(lines, 1)]
        self.n += len(told)
        size = len(pack_lines(told))
        slots = self.slots
        if slots and slots[-1].size < _SLOT_BYTES:
            slots[-1].lines += told
            slots[-1].size += size
        else:
            slots.append(_Slot(told, _SLOT_COST + size))
        while len(slots) > 1:
            rest = slots[1:]
            enough = (
                sum(len(slot.lines) for slot in rest) >= LINES_KEPT or sum(slot.size for slot in rest) >= BYTES_KEPT
            )
            if not enough and len(slots) < _SLOTS:
                break
            del slots[0]

    @property
    def size(self) -> int:
        """The bytes that count as the task's."""
        message = len(self.progress.message.encode()) if self.progress else 0
        saved = len(self.saved.data) if self.saved else 0
        return _HEAD_COST + message + saved + sum(slot.size for slot in self.slots)


class MemoryNotes:
    """The notes of one queue; they stand with their tasks."""

    def __init__(self, tables: Tables, clock: Clock) -> None:
        self._t = tables
        self._clock = clock
        self._apps: dict[str, tuple[int, int, list[TaskType]]] = {}

    async def note(self, inc: bytes, notes: Sequence[Note]) -> list[bool]:
        """Writes notes."""
        return [self._note(inc, note) for note in notes]

    def _note(self, inc: bytes, note: Note) -> bool:
        task = self._t.tasks.get(note.id)
        if task is None or task.state != State.RUNNING or task.holder != inc or task.fence != note.fence:
            return False
        kept = task.notes or TaskNotes()
        if kept.last[0] == note.fence and note.number <= kept.last[1]:
            return True
        kept.last = (note.fence, note.number)
        now = self._clock.now_ms()
        if note.progress is not None:
            kept.progress = Progress(note.progress.fraction, note.progress.message, now, task.attempts)
        if note.checkpoint is not None:
            kept.saved = None if note.checkpoint == NOTHING else Saved(note.checkpoint, task.attempts, now)
        if note.lines:
            kept.add(note.lines)
        before = task.notes_size
        task.notes = kept
        task.notes_size = kept.size
        task.size += task.notes_size - before
        return True

    def _find(self, id: bytes) -> TaskNotes | None:
        task: Task | None = self._t.tasks.get(id)
        return task.notes if task is not None else None

    async def saved(self, ids: Sequence[bytes]) -> list[Saved | None]:
        """The checkpoints of tasks."""
        return [kept.saved if (kept := self._find(id)) else None for id in ids]

    async def unsave(self, ids: Sequence[bytes], *, succeeded: bool = False) -> list[bool]:
        """Forgets the checkpoints of tasks that nobody runs."""
        return [self._unsave(id, succeeded) for id in ids]

    def _unsave(self, id: bytes, succeeded: bool) -> bool:
        task = self._t.tasks.get(id)
        if task is None or task.notes is None or task.notes.saved is None:
            return True
        if task.state in HELD or (succeeded and task.state != State.SUCCEEDED):
            return False
        size = len(task.notes.saved.data)
        task.notes.saved = None
        task.notes_size -= size
        task.size -= size
        if task.state.final and task.state != State.DEAD:
            self._t.finished_bytes -= size
        return True

    async def told(self, ids: Sequence[bytes]) -> list[Told | None]:
        """How much there is of tasks."""
        return [self._told(kept) if (kept := self._find(id)) else None for id in ids]

    def _told(self, kept: TaskNotes) -> Told:
        saved = kept.saved
        return Told(kept.progress, kept.n, len(saved.data) if saved else 0, saved.at if saved else 0)

    async def progress(self, ids: Sequence[bytes]) -> list[Progress | None]:
        """How far tasks are."""
        return [kept.progress if (kept := self._find(id)) else None for id in ids]

    async def logs(self, id: bytes, after: int = 0) -> LogPage:
        """The kept log lines after a number."""
        return self.page(id, after)

    def page(self, id: bytes, after: int = 0) -> LogPage:
        """As :meth:`logs`, at once."""
        kept = self._find(id)
        return page_of(kept.lines, kept.n, after) if kept else LogPage([], after, False)

    def last_saved(self, id: bytes) -> Saved | None:
        """The checkpoint of one task, at once."""
        kept = self._find(id)
        return kept.saved if kept else None

    def last_progress(self, id: bytes) -> Progress | None:
        """How far one task is, at once."""
        kept = self._find(id)
        return kept.progress if kept else None

    async def announce(self, app: str, types: Sequence[TaskType]) -> bool:
        """Says that a worker runs these types."""
        now = self._clock.now_ms()
        known = self._apps.get(app)
        self._apps = {
            name: entry for name, entry in self._apps.items() if name == app or entry[1] >= now - TYPES_KEPT_MS
        }
        self._apps[app] = (known[0] if known else now, now, known[2] if known else list(types))
        return known is None

    async def types(self) -> list[TaskType]:
        """The types that workers announced within the last day."""
        oldest = self._clock.now_ms() - TYPES_KEPT_MS
        found: dict[str, TaskType] = {}
        for _, seen, types in sorted(self._apps.values(), key=lambda entry: entry[0]):
            if seen >= oldest:
                found.update((each.type, each) for each in types)
        return sorted(found.values(), key=lambda each: each.type)
