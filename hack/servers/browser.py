"""A real browser for the dashboard's tests, and what builds the dashboard: both from the machine, never downloaded."""

import fcntl
import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

WEB = Path(__file__).resolve().parents[2] / "runtime" / "laneway" / "dashboard" / "web"
"""The dashboard's sources."""

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def find_chromium() -> Path | None:
    """The Chromium on PATH."""
    found = next(filter(None, map(shutil.which, _BROWSERS)), None)
    return Path(found) if found else None


def lacks_browser() -> str | None:
    """What a test in a browser lacks here, and how to get it."""
    if importlib.util.find_spec("playwright") is None:
        return "playwright is not installed (make setup does it)"
    if find_chromium() is None:
        return "chromium is not on PATH (Debian: apt-get install chromium)"
    return None


def find_node() -> Path | None:
    """A Node that Vite runs on: the machine's, or, where that is too old (Debian 12), Playwright's own."""
    own = importlib.util.find_spec("playwright")
    bundled = Path(own.origin).parent / "driver" / "node" if own is not None and own.origin else None
    for node in (shutil.which("node"), bundled):
        if node is not None and Path(node).exists() and _suits_vite(Path(node)):
            return Path(node)
    return None


def _suits_vite(node: Path) -> bool:
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=True, timeout=20).stdout
    found = re.match(r"v(\d+)\.(\d+)", said)
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    return (20, 19) <= version < (21, 0) or version >= (22, 12)


def lacks_node() -> str | None:
    """What building the dashboard lacks here, and how to get it."""
    if find_node() is None:
        return "there is no node 20.19 or 22.12 or newer on PATH, nor Playwright's (make setup installs that)"
    if shutil.which("npm") is None:
        return "npm is not on PATH (Debian: apt-get install npm)"
    return None


def node_environment() -> dict[str, str]:
    """The environment in which `node`, also within npm and the programs of packages, is that of :func:`find_node`."""
    node = find_node()
    assert node is not None
    # (npm leaves optional packages out, such as Vite's native parts, when the Node it runs on is not one of theirs.)
    return {**os.environ, "PATH": f"{node.parent}{os.pathsep}{os.environ['PATH']}", "NODE_NO_WARNINGS": "1"}


def node_modules() -> Path:
    """The folder of the dashboard's packages, installed as its lock file says when they are not yet.

    Raises:
        RuntimeError: npm could not install them.
    """
    folder = WEB / "node_modules"
    lock, installed = WEB / "package-lock.json", folder / ".package-lock.json"
    # Tests run in several processes, and npm begins by emptying the folder.
    with open(lock) as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
            done = subprocess.run(
                ["npm", "ci"], cwd=WEB, capture_output=True, text=True, timeout=300, env=node_environment()
            )
            if done.returncode:
                raise RuntimeError(f"npm ci in {WEB}: {done.stdout}{done.stderr}")
    return folder
