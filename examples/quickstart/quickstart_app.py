"""The handlers of the quick start: tasks that fail on purpose, and real work on files."""

from __future__ import annotations

import hashlib
import zlib
from pathlib import Path

from laneway import App, Backoff, Context

app = App("quickstart", queue="quickstart")

#: Short, so that a demo is over soon; the default waits 2 s, 4 s, 8 s.
SOON = Backoff(base=0.2, factor=2.0, cap=1.0)


@app.task(max_attempts=3, backoff=SOON)
async def burst(ctx: Context, number: int, mode: str = "ok") -> int:
    """Succeeds, except that FAIL_ME always fails and FAIL_ONCE fails at the first attempt."""
    if mode == "FAIL_ME":
        raise RuntimeError(f"task {number} was told to fail (attempt {ctx.attempt} of {ctx.max_attempts})")
    if mode == "FAIL_ONCE" and ctx.attempt == 1:
        raise ConnectionError(f"task {number} fails the first time")
    return number


@app.task(lane="high", timeout=30)
def checksum(path: str) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


@app.task(lane="normal", timeout=30)
def word_count(path: str) -> int:
    """How many words a text file has."""
    return len(Path(path).read_text().split())


@app.task(lane="low", timeout=30)
def thumbnail(path: str, size: int = 16) -> list[int]:
    """A picture (binary PGM) made smaller: its width, its height, and the CRC-32 of its pixels.

    Each pixel is the mean of the square of pixels that it stands for.
    """
    width, height, pixels = read_pgm(Path(path).read_bytes())
    step = max(1, max(width, height) // size)
    small = bytearray()
    for top in range(0, height - step + 1, step):
        for left in range(0, width - step + 1, step):
            block = [pixels[(top + y) * width + left : (top + y) * width + left + step] for y in range(step)]
            small.append(sum(map(sum, block)) // (step * step))
    return [width // step, height // step, zlib.crc32(small)]


def read_pgm(raw: bytes) -> tuple[int, int, bytes]:
    """Width, height and grey values (one byte each) of a binary PGM file.

    Raises:
        ValueError: it is not one.
    """
    fields = raw.split(maxsplit=4)
    if len(fields) < 4 or fields[0] != b"P5" or fields[3] != b"255":
        raise ValueError("not a binary PGM file with 255 grey values")
    width, height = int(fields[1]), int(fields[2])
    pixels = raw[-width * height :]
    if len(pixels) != width * height:
        raise ValueError("the file ends before its pixels do")
    return width, height, pixels
