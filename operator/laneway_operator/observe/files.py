"""Certificates and keys from Secrets, as the files that TLS libraries want."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Final

#: A file that nobody asked for in so long (s) may be deleted.
UNASKED_S: Final = 3_600.0


class PrivateFiles:
    """Files in a folder of their own that only this process's user can read. The same content is the same file, so
    a rotated certificate has another path.

    What is in use is asked for by every pass, so what nobody asked for in an hour is of before some rotation: beyond
    ``keep`` files it is deleted. ``clock`` gives seconds.
    """

    def __init__(self, *, keep: int = 200, clock: Callable[[], float] = time.monotonic) -> None:
        self._keep = keep
        self._clock = clock
        self._folder: Path | None = None
        self._written: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self._writing = asyncio.Lock()

    async def path(self, content: bytes) -> str:
        """The path of a file with this content."""
        name = hashlib.sha256(content).hexdigest()[:32]
        async with self._writing:
            if name in self._written:
                path, _ = self._written[name]
            else:
                path = await asyncio.to_thread(self._write, name, content)
                await self._drop_old()
            self._written[name] = (path, self._clock())
            self._written.move_to_end(name)
            return path

    async def _drop_old(self) -> None:
        while len(self._written) >= self._keep:
            name, (path, asked) = next(iter(self._written.items()))
            if self._clock() - asked < UNASKED_S:
                return
            del self._written[name]
            await asyncio.to_thread(Path(path).unlink, missing_ok=True)

    def _write(self, name: str, content: bytes) -> str:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="laneway-operator-"))  # mode 0700
        path = self._folder / f"{name}.pem"
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
        return str(path)

    def close(self) -> None:
        """Deletes them all."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._folder = None
        self._written.clear()
