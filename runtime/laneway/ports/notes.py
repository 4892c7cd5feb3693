"""The port to what running handlers tell of themselves (progress, checkpoint, log lines), and to the task types that
workers announce.

Adapters: ``laneway.adapters.redis.notes`` and ``laneway.adapters.memory.notes``, each as ``store.notes``. All methods
may raise :class:`~laneway.errors.Unavailable` and :class:`~laneway.errors.OutcomeUnknown`, as those of the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from laneway.model.notes import LogLine, LogPage, Note, Progress, Saved, TaskType, Told


class NoteStore(Protocol):
    """Notes of one queue's tasks. They live as long as their tasks."""

    async def note(self, inc: bytes, notes: Sequence[Note]) -> list[bool]:
        """Writes notes, at most one of a task; per note whether its attempt still runs and holds its task (else nothing
        was written for it). Repeating a note adds nothing."""
        ...

    async def saved(self, ids: Sequence[bytes]) -> list[Saved | None]:
        """The checkpoints of tasks."""
        ...

    async def unsave(self, ids: Sequence[bytes], *, succeeded: bool = False) -> list[bool]:
        """Forgets the checkpoints of tasks that nobody runs (``succeeded``: only of tasks that did), so that they begin
        anew. Per task whether nothing is saved of it any more."""
        ...

    async def told(self, ids: Sequence[bytes]) -> list[Told | None]:
        """How much there is of tasks: progress, number of log lines, size of the checkpoint; None when nothing."""
        ...

    async def progress(self, ids: Sequence[bytes]) -> list[Progress | None]:
        """How far tasks are, by what their handlers said last."""
        ...

    async def logs(self, id: bytes, after: int = 0) -> LogPage:
        """The kept log lines of a task with a number greater than ``after``; none for an unknown task."""
        ...

    async def announce(self, app: str, types: Sequence[TaskType]) -> bool:
        """Says that a worker runs these types of the application ``app``; False when that was known, and only its time
        was noted. Applications that no worker announced for a day are forgotten."""
        ...

    async def types(self) -> list[TaskType]:
        """The types that workers announced within the last day, by name; of several applications that have one of the
        same name, the one that came last."""
        ...


__all__ = ["LogLine", "LogPage", "Note", "NoteStore", "Progress", "Saved", "TaskType", "Told"]
