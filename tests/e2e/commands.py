"""Runs kubectl and helm, each with a deadline."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence


class CommandFailed(AssertionError):
    """A command failed or took too long; the message has what it said."""


def run(argv: Sequence[str], *, timeout: float = 60.0, text: str | None = None) -> str:
    """The standard output of a command, which has `text` as its input. Raises CommandFailed."""
    try:
        done = subprocess.run(
            argv,
            input=text,
            stdin=subprocess.DEVNULL if text is None else None,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired as error:
        # (These are bytes here, whatever was asked for.)
        said = b"".join(part for part in (error.stdout, error.stderr) if part)
        raise CommandFailed(f"{' '.join(argv)}: no end within {timeout:g} s\n{said.decode(errors='replace')}") from None
    if done.returncode != 0:
        raise CommandFailed(f"{' '.join(argv)}: exit code {done.returncode}\n{(done.stdout + done.stderr)[-4000:]}")
    return done.stdout


def kubectl(*argv: str, timeout: float = 60.0, text: str | None = None) -> str:
    """kubectl's standard output. Raises CommandFailed."""
    return run(["kubectl", *argv], timeout=timeout, text=text)
