"""A real browser for the dashboard's tests, and what builds the dashboard: both from the machine, never downloaded."""

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

WEB = Path(__file__).resolve().parents[2] / "runtime" / "laneway" / "dashboard" / "web"
"""The dashboard's sources."""

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_NODE = (20, 19)


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


def lacks_node() -> str | None:
    """What building the dashboard lacks here, and how to get it."""
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        return "node and npm are not on PATH (Debian 13: apt-get install nodejs npm)"
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=True, timeout=20).stdout
    found = re.match(r"v(\d+)\.(\d+)", said)
    if found is None or (int(found[1]), int(found[2])) < _NODE:
        return f"node is {said.strip()}, and Vite needs {_NODE[0]}.{_NODE[1]} or newer"
    return None


def node_modules() -> Path:
    """The folder of the dashboard's packages, installed as its lock file says when they are not yet.

    Raises:
        RuntimeError: npm could not install them.
    """
    folder = WEB / "node_modules"
    lock, installed = WEB / "package-lock.json", folder / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        done = subprocess.run(["npm", "ci"], cwd=WEB, capture_output=True, text=True, timeout=300)
        if done.returncode:
            raise RuntimeError(f"npm ci in {WEB}: {done.stdout}{done.stderr}")
    return folder
