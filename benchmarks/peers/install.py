"""Installs each system at its pinned versions into a folder that is kept, and says what was installed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.processes import Failed
from benchmarks.peers.system import System

_LIMIT_S = 600


@dataclass(frozen=True, slots=True)
class Installed:
    """``python`` runs the adapters of Python systems; ``bin`` is where programs are; ``folder`` the adapter's."""

    bin: Path
    folder: Path
    produce: tuple[str, ...]
    versions: dict[str, str]


def cache() -> Path:
    """Where installed systems are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "laneway"


def install(system: System) -> Installed:
    """Installs a system unless that was done.

    Raises:
        Failed: it could not be installed; the message has the end of what the installer wrote.
    """
    if system.ours:
        return _laneway(system)
    return {"Python": _python, "Go": _go, "Node": _node}[system.language](system)


def _run(*command: str | Path, cwd: Path | None = None) -> str:
    try:
        done = subprocess.run(
            [str(part) for part in command], cwd=cwd, timeout=_LIMIT_S, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failed(f"{command[0]}: {error}") from error
    if done.returncode:
        raise Failed(f"{' '.join(map(str, command[:4]))} ... ended with {done.returncode}:\n{done.stdout[-1500:]}")
    return done.stdout


def _home(system: System, *pins: Path) -> Path:
    """The system's folder, named by what is pinned, so that another pin is another folder."""
    digest = hashlib.sha256(b"".join(pin.read_bytes() for pin in pins) + sys.version.encode()).hexdigest()[:12]
    return cache() / f"peers-{system.name}-{digest}"


def _laneway(system: System) -> Installed:
    from importlib.metadata import version

    versions = {name: version(name) for name in ("redis", "hiredis", "uvloop", "msgspec", "aiokafka")}
    adapter = system.path / "adapter.py"
    return Installed(Path(sys.executable).parent, system.path, (sys.executable, str(adapter)), {
        "laneway": version("laneway"), **versions,
    })  # fmt: skip


def _python(system: System) -> Installed:
    pins = system.path / "requirements.txt"
    home = _home(system, pins)
    python = home / "bin" / "python"
    if not (home / "complete").exists():
        shutil.rmtree(home, ignore_errors=True)
        _run(sys.executable, "-m", "venv", home)
        _run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "-r", pins)
        _run(python, "-m", "pip", "check")
        (home / "complete").touch()
    pinned = dict(line.split("==") for line in pins.read_text().split())
    versions = {name: pinned[name] for name in system.versions}
    return Installed(home / "bin", system.path, (str(python), str(system.path / "adapter.py")), versions)


def _go(system: System) -> Installed:
    sources = sorted(system.path.glob("*.go"))
    home = _home(system, system.path / "go.mod", system.path / "go.sum", *sources)
    program = home / "peer"
    if not program.exists():
        home.mkdir(parents=True, exist_ok=True)
        _run("go", "build", "-trimpath", "-mod=readonly", "-o", home / "draft", ".", cwd=system.path)
        (home / "draft").rename(program)
    listed = _run("go", "list", "-m", "-mod=readonly", "-f", "{{.Path}} {{.Version}}", "all", cwd=system.path)
    found = dict(line.split(" ", 1) for line in listed.splitlines() if " " in line)
    versions = {name.removesuffix("/v9").rsplit("/", 1)[-1]: found[name].strip() for name in system.versions}
    versions["go"] = _run("go", "env", "GOVERSION").strip()
    return Installed(home, home, (str(program), "produce"), versions)


def _node(system: System) -> Installed:
    files = [system.path / name for name in ("package.json", "package-lock.json")]
    scripts = sorted(system.path.glob("*.mjs"))
    home = _home(system, *files, *scripts)
    if not (home / "complete").exists():
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        for file in (*files, *scripts):
            shutil.copy(file, home)
        _run("npm", "ci", "--no-audit", "--no-fund", cwd=home)
        (home / "complete").touch()
    versions = {
        name: json.loads((home / "node_modules" / name / "package.json").read_text())["version"]
        for name in system.versions
    }
    versions["node"] = _run("node", "--version").strip()
    return Installed(home, home, ("node", str(home / "peer.mjs"), "produce"), versions)
