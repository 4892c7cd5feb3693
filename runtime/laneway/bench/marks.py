"""What handlers tell a bench: one file per process, mapped into memory on both sides.

A mark is a store into memory and nothing else, so it hardly disturbs what is measured. Times are those of
``time.monotonic_ns()``, which all processes of a machine share. Each process writes its own file, so no mark
is lost to another's and a task that ran twice, wherever, counts as two.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from pathlib import Path

FOLDER_ENV = "LANEWAY_BENCH_FOLDER"
TASKS_ENV = "LANEWAY_BENCH_TASKS"

_HEADER = 64
_HEAD = struct.Struct("<QQ")  # process id, time of the process's first mark (ns)


class MarkFile:
    """One process's marks of tasks 0 to ``tasks - 1``: when each began (ns), its fence, how often it began."""

    def __init__(self, path: Path, tasks: int) -> None:
        size = _HEADER + 17 * tasks
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), size)
        whole = memoryview(self._map)
        self.starts = whole[_HEADER : _HEADER + 8 * tasks].cast("Q")
        self.fences = whole[_HEADER + 8 * tasks : _HEADER + 16 * tasks].cast("Q")
        self.counts = whole[_HEADER + 16 * tasks :]

    @classmethod
    def create(cls, folder: Path, tasks: int) -> MarkFile:
        """This process's file, there for others at once and whole."""
        made = folder / f"{os.getpid()}.new"
        with made.open("xb") as file:
            file.write(_HEAD.pack(os.getpid(), time.monotonic_ns()))
            file.truncate(_HEADER + 17 * tasks)  # a file with holes: what is not marked takes no room
        made.rename(made.with_suffix(".marks"))
        return cls(made.with_suffix(".marks"), tasks)

    @property
    def pid(self) -> int:
        """The process that writes it."""
        return int(_HEAD.unpack_from(self._map)[0])

    @property
    def first_ns(self) -> int:
        """When the process's first marked task began."""
        return int(_HEAD.unpack_from(self._map)[1])


class Recorder:
    """A handler's side. Its file is made at the first mark, so that importing an app touches nothing."""

    def __init__(self) -> None:
        self._file: MarkFile | None = None

    def _open(self) -> MarkFile:
        self._file = MarkFile.create(Path(os.environ[FOLDER_ENV]), int(os.environ[TASKS_ENV]))
        return self._file

    def count(self, n: int) -> None:
        """Task ``n`` runs."""
        (self._file or self._open()).counts[n] += 1

    def start(self, n: int, fence: int = 0) -> None:
        """Task ``n`` runs from now on, under ``fence``."""
        now = time.monotonic_ns()
        file = self._file or self._open()
        file.counts[n] += 1
        file.starts[n] = now
        file.fences[n] = fence

    def released(self) -> bool:
        """Whether the bench lets tasks that wait for its word go on."""
        return os.path.exists(os.path.join(os.environ[FOLDER_ENV], "release"))


class Marks:
    """The bench's side: the marks of all processes, while they are made."""

    def __init__(self, folder: Path, tasks: int) -> None:
        self.folder = folder
        self.tasks = tasks
        self._files: dict[str, MarkFile] = {}

    @property
    def env(self) -> dict[str, str]:
        """What processes that run handlers need in their environment."""
        return {FOLDER_ENV: str(self.folder), TASKS_ENV: str(self.tasks)}

    def files(self) -> list[MarkFile]:
        """The file of each process that has begun a task."""
        for path in self.folder.glob("*.marks"):
            if path.name not in self._files:
                self._files[path.name] = MarkFile(path, self.tasks)
        return list(self._files.values())

    def starts(self, n: int) -> list[tuple[int, int]]:
        """(process id, ns) of each process in which task ``n`` has begun."""
        return [(file.pid, file.starts[n]) for file in self.files() if file.starts[n]]

    def runs(self, first: int, end: int) -> list[int]:
        """How often each of the tasks ``first`` to ``end - 1`` has begun, in all processes together."""
        columns = [file.counts[first:end] for file in self.files()]
        return [sum(row) for row in zip(*columns, strict=True)] if columns else [0] * (end - first)

    def release(self) -> None:
        """Lets tasks that wait for it go on."""
        (self.folder / "release").touch()
