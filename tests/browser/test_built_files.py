"""The built files in the repository are what the sources make, and are small."""

from __future__ import annotations

import gzip
import subprocess
from pathlib import Path

from laneway.dashboard.files import dashboard_files
from servers.browser import WEB, node_environment, node_modules
from servers.need import require

_STATIC = WEB.parent / "static"
_MOST_JS = 120_000


def test_a_build_of_the_sources_gives_the_files_that_are_here(tmp_path: Path) -> None:
    require("node")
    bins, env = node_modules() / ".bin", node_environment()
    checked = subprocess.run([bins / "tsc", "--noEmit"], cwd=WEB, capture_output=True, text=True, timeout=120, env=env)
    assert checked.returncode == 0, checked.stdout
    command = [str(bins / "vite"), "build", "--outDir", str(tmp_path), "--emptyOutDir", "--logLevel", "warn"]
    built = subprocess.run(command, cwd=WEB, capture_output=True, text=True, timeout=120, env=env)
    assert built.returncode == 0, built.stdout + built.stderr
    made = {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    here = {path.relative_to(_STATIC).as_posix(): path.read_bytes() for path in _STATIC.rglob("*") if path.is_file()}
    assert sorted(made) == sorted(here), "run `make dashboard` and commit what it makes"
    assert made == here


def test_the_scripts_are_small_and_nothing_is_loaded_from_elsewhere() -> None:
    files = dashboard_files()
    scripts = {path: file for path, file in files.items() if path.endswith(".js")}
    assert scripts
    assert sum(len(gzip.compress(file.body, 9)) for file in scripts.values()) < _MOST_JS
    index = files["index.html"].body.decode()
    assert "http" not in index and "//" not in index.replace("<!doctype html>", "")
    for path in scripts:
        assert f'src="/dashboard/{path}"' in index


def test_the_lock_file_names_no_host() -> None:
    lock = (WEB / "package-lock.json").read_text()
    assert '"resolved"' not in lock
