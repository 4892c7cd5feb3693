"""The bench's side of the marks: what all processes of a system have told, while they tell it."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

HEADER = 64


class MarkFile:
    """One process's marks; the layout is told in systems/shared/marks.py."""

    def __init__(self, path: Path, tasks: int) -> None:
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), HEADER + 10 * tasks, access=mmap.ACCESS_READ)
        whole = memoryview(self._map)
        self.pid = int(struct.unpack_from("<Q", self._map)[0])
        self.starts = whole[HEADER : HEADER + 8 * tasks].cast("Q")
        self.begun = whole[HEADER + 8 * tasks : HEADER + 9 * tasks]
        self.ended = whole[HEADER + 9 * tasks :]


class Marks:
    """The marks of all processes of one system, of tasks 0 to ``tasks - 1``."""

    def __init__(self, folder: Path, tasks: int) -> None:
        self.folder = folder
        self.tasks = tasks
        self._files: dict[str, MarkFile] = {}

    def files(self) -> list[MarkFile]:
        """The file of each process that has begun a task."""
        for path in self.folder.glob("*.marks"):
            if path.name not in self._files:
                self._files[path.name] = MarkFile(path, self.tasks)
        return list(self._files.values())

    def missing(self, first: int, end: int) -> int:
        """How many of the tasks ``first`` to ``end - 1`` have not begun anywhere."""
        columns = [file.begun[first:end].tobytes() for file in self.files()]
        if not columns:
            return end - first
        if len(columns) == 1:
            return columns[0].count(0)
        width = end - first
        union = 0
        for column in columns:  # as one large number each, so that this stays quick for many tasks
            union |= int.from_bytes(column, "little")
        return union.to_bytes(width, "little").count(0)

    def times_begun(self, first: int, end: int) -> list[int]:
        """How often each task has begun, in all processes together."""
        columns = [file.begun[first:end].tobytes() for file in self.files()]
        return [sum(row) for row in zip(*columns, strict=True)] if columns else [0] * (end - first)

    def times_ended(self, first: int, end: int) -> list[int]:
        """How often each task has ended, in all processes together."""
        columns = [file.ended[first:end].tobytes() for file in self.files()]
        return [sum(row) for row in zip(*columns, strict=True)] if columns else [0] * (end - first)

    def starts(self, first: int, end: int, *, but: frozenset[int] = frozenset()) -> list[int]:
        """When each task first began (monotonic ns; 0: not yet), processes ``but`` left out."""
        columns = [file.starts[first:end].tolist() for file in self.files() if file.pid not in but]
        if not columns:
            return [0] * (end - first)
        return [min((at for at in row if at), default=0) for row in zip(*columns, strict=True)]

    def release(self) -> None:
        """Lets tasks that wait for it end."""
        (self.folder / "release").touch()
