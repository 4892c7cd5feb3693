"""What handlers of the Python systems tell the bench, without a dependency: one file per process, mapped into memory.

A mark is a store into memory, so it hardly disturbs what is measured. Times are ``time.monotonic_ns()``, the clock
that all processes of a machine share. Layout, for ``PEER_TASKS`` tasks: 64 bytes (process id as little-endian
u64, rest zero), u64 x tasks (first begin in this process, ns), u8 x tasks (times begun), u8 x tasks (times ended).
The Go and the Node adapter write the same.
"""

import mmap
import os
import struct
import threading
import time

HEADER = 64

_lock = threading.Lock()
_starts: "memoryview | None" = None
_begun: memoryview
_ended: memoryview
_released = os.path.join(os.environ.get("PEER_MARKS", ""), "release")


def _open() -> memoryview:
    """Makes this process's file, whole before anybody sees it; later calls give the same."""
    global _starts, _begun, _ended
    with _lock:
        if _starts is None:
            tasks = int(os.environ["PEER_TASKS"])
            draft = os.path.join(os.environ["PEER_MARKS"], f"{os.getpid()}.new")
            with open(draft, "x+b") as file:
                file.write(struct.pack("<Q", os.getpid()))
                file.truncate(HEADER + 10 * tasks)
                whole = memoryview(mmap.mmap(file.fileno(), HEADER + 10 * tasks))
            os.rename(draft, draft[: -len("new")] + "marks")
            _begun = whole[HEADER + 8 * tasks : HEADER + 9 * tasks]
            _ended = whole[HEADER + 9 * tasks :]
            _starts = whole[HEADER : HEADER + 8 * tasks].cast("Q")
    return _starts


def begin(n: int) -> None:
    """Task ``n`` begins now."""
    now = time.monotonic_ns()
    starts = _starts if _starts is not None else _open()
    if not starts[n]:
        starts[n] = now
    _begun[n] += 1


def end(n: int) -> None:
    """Task ``n`` has ended."""
    _ended[n] += 1


def released() -> bool:
    """Whether tasks that wait for the bench's word may end."""
    return os.path.exists(_released)
