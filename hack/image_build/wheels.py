"""Fills dist/wheels: Laneway's own wheel and the pinned wheels of all that it needs."""

import os
import platform
import re
import shutil
import sys
from pathlib import Path

from image_build.builders import Interpreter
from image_build.errors import BuildFailed, run

FOLDER = Path("dist") / "wheels"
PIP = "pip==26.3"
"""Installs the wheels inside the build and does not stay there."""


def make(root: Path, interpreter: Interpreter) -> Path:
    """Empty the folder and fill it for this interpreter; the path of Laneway's wheel. Raises `BuildFailed`."""
    folder = root / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    # The same sources make the same bytes: their time is that of the last commit.
    environ = {**os.environ, "SOURCE_DATE_EPOCH": _committed_at(root)}
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    run([*build, "."], root, quiet=True, env=environ)
    wheel = next(folder.glob("laneway-*.whl"))
    argv = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "download"]
    argv += ["--only-binary", ":all:", "--dest", str(folder), "--constraint", "constraints.txt"]
    run([*argv, *fitting(interpreter), f"{wheel}[operator,otel]", PIP], root, quiet=True)
    return wheel


def version_of(wheel: Path) -> str:
    """The version that a wheel's name says."""
    found = re.match(r"laneway-([^-]+)-", wheel.name)
    if found is None:
        raise BuildFailed(f"{wheel.name} is not named like a wheel of Laneway")
    return found[1]


def revision(root: Path) -> str:
    """The commit that the images are built from, with `-dirty` when the tree differs from it; `unknown` without git."""
    if not (root / ".git").exists():
        return "unknown"
    head = run(["git", "rev-parse", "HEAD"], root, quiet=True).strip()
    changed = run(["git", "status", "--porcelain", "--untracked-files=no"], root, quiet=True).strip()
    return f"{head}-dirty" if changed else head


def _committed_at(root: Path) -> str:
    # Before 1980 a wheel, which is a zip file, can name no time.
    if not (root / ".git").exists():
        return "315532800"
    return run(["git", "log", "-1", "--format=%ct"], root, quiet=True).strip()


def fitting(interpreter: Interpreter) -> list[str]:
    """pip's options for wheels of another Python than this one; none when it is the same."""
    if interpreter.version == sys.version_info[:2] and interpreter.machine == platform.machine():
        return []
    digits = f"{interpreter.version[0]}{interpreter.version[1]}"
    argv = ["--implementation", "cp", "--python-version", digits]
    argv += ["--abi", f"cp{digits}", "--abi", "abi3", "--abi", "none"]
    major, newest = interpreter.glibc
    for minor in range(newest, 4, -1):
        argv += ["--platform", f"manylinux_{major}_{minor}_{interpreter.machine}"]
    for old in ("manylinux2014", "manylinux2010", "manylinux1"):
        argv += ["--platform", f"{old}_{interpreter.machine}"]
    return argv
