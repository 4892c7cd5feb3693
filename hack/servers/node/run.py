"""Commands that must succeed."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


class CommandFailed(RuntimeError):
    """A command failed; the message carries the end of what it said."""


def run(
    argv: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None, text: str | None = None
) -> str:
    """Run a command with `text` as its input; its standard output. Raises `CommandFailed`."""
    try:
        done = subprocess.run(
            argv,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            input=text,
            stdin=subprocess.DEVNULL if text is None else None,
            capture_output=True,
            text=True,
        )
    except OSError as error:
        raise CommandFailed(f"{argv[0]} could not be run: {error}") from error
    if done.returncode != 0:
        raise CommandFailed(f"{' '.join(argv[:4])} ... failed:\n{(done.stdout + done.stderr)[-3000:].strip()}")
    return done.stdout
