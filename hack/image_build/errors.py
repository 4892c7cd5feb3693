"""What can go wrong, and running programs so that it is told."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


class BuildFailed(RuntimeError):
    """A wheel or an image could not be built; the message says why."""


def run(argv: Sequence[str], cwd: Path, *, quiet: bool = False, env: Mapping[str, str] | None = None) -> str:
    """The standard output of a program. `quiet`: what it says on standard error is shown only if it fails.

    Raises `BuildFailed`.
    """
    stderr = subprocess.PIPE if quiet else None
    try:
        done = subprocess.run(
            argv, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, text=True, env=env
        )
    except FileNotFoundError as error:
        raise BuildFailed(f"{argv[0]} is not on PATH") from error
    if done.returncode != 0:
        said = f"{done.stdout}{done.stderr or ''}".strip()[-3000:]
        raise BuildFailed(f"{' '.join(argv[:3])} ... failed with exit code {done.returncode}\n{said}".strip())
    return done.stdout
