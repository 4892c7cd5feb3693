"""Changes a file of API keys: one at a time, and whole or not at all."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from laneway.adapters.auth_files import load_keys
from laneway.errors import ConfigError
from laneway.model.apikeys import KeyEntry, KeyFile

_HEAD = "# API keys of Laneway's gateway, without their secrets. Written by `laneway keys`.\n"


def change_keys(file: Path, change: Callable[[list[KeyEntry]], list[KeyEntry]]) -> None:
    """Replaces the keys of a file by what ``change`` makes of them; a file that is not there is made, readable by its
    owner alone. Two who change it at the same time come one after the other, and readers see it before or after.

    Raises:
        ConfigError: the file is broken, or can't be written; it is as it was.
    """
    file = file.resolve() if file.is_symlink() else file
    try:
        with _alone(file.parent):
            there = load_keys(file).keys if file.exists() else []
            mode = file.stat().st_mode & 0o777 if file.exists() else 0o600
            _replace(file, KeyFile(keys=change(list(there))), mode)
    except OSError as error:
        raise ConfigError(f"{file}: can't be written: {error.strerror or error}") from None


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Nobody else changes a file of this folder meanwhile. (Of the file itself the lock would go with the rename.)"""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _replace(file: Path, keys: KeyFile, mode: int) -> None:
    plain = keys.model_dump(exclude_none=True)
    text = (
        json.dumps(plain, indent=2) + "\n" if file.suffix == ".json" else _HEAD + yaml.safe_dump(plain, sort_keys=False)
    )
    # A name with a dot in front: a gateway that reads the whole folder leaves it out.
    handle, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as made:
            made.write(text)
            made.flush()
            os.fchmod(made.fileno(), mode)
            os.fsync(made.fileno())
        os.rename(name, file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
