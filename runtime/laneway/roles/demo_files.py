"""Makes the real files that the demo works on, and does the same work in a plain loop to compare with."""

from __future__ import annotations

import random
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_WORDS = ("lane", "lease", "fence", "queue", "worker", "retry", "drain", "poller", "settle", "claim", "credit")


@dataclass(frozen=True, slots=True)
class WorkFile:
    """One file and the task type that works on it."""

    path: Path
    task: str

    def expected(self) -> Any:
        """The result, by a call of the plain function."""
        return getattr(sys.modules["quickstart_app"], self.task)(str(self.path))


def make_files(folder: Path, *, each: int = 100) -> list[WorkFile]:
    """Writes ``each`` pictures, binary files and texts; the same content each time."""
    rand = random.Random(7)
    files: list[WorkFile] = []
    for i in range(each):
        size = rand.choice((64, 96, 128))
        picture = folder / f"picture-{i:03}.pgm"
        picture.write_bytes(b"P5\n%d %d\n255\n" % (size, size) + rand.randbytes(size * size))
        blob = folder / f"blob-{i:03}.bin"
        blob.write_bytes(rand.randbytes(rand.randint(1_000, 200_000)))
        text = folder / f"text-{i:03}.txt"
        text.write_text("\n".join(" ".join(rand.choices(_WORDS, k=12)) for _ in range(rand.randint(10, 400))))
        files += [WorkFile(picture, "thumbnail"), WorkFile(blob, "checksum"), WorkFile(text, "word_count")]
    return files
