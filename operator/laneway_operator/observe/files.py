"""Certificates and keys from Secrets, as the files that TLS libraries want."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import tempfile
from pathlib import Path


class PrivateFiles:
    """Files in a folder of their own that only this process's user can read. The same content is the same file, so
    a rotated certificate has another path."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._written: dict[str, str] = {}
        self._writing = asyncio.Lock()

    async def path(self, content: bytes) -> str:
        """The path of a file with this content."""
        name = hashlib.sha256(content).hexdigest()[:32]
        async with self._writing:
            if name not in self._written:
                self._written[name] = await asyncio.to_thread(self._write, name, content)
            return self._written[name]

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
