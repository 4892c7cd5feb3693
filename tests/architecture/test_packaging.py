"""The tree builds into one distribution, and its folder names harm nothing."""

import email
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built from this tree with the build tools installed here."""
    out = tmp_path_factory.mktemp("wheel")
    argv = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = out.glob("*.whl")
    return zipfile.ZipFile(built)


@pytest.mark.parametrize("folder", [ROOT, ROOT / "operator"], ids=["repo root", "operator/"])
def test_the_operator_folder_never_shadows_the_standard_library(folder: Path) -> None:
    # -S and -E: even a Python with nothing loaded and nothing set must find its own module.
    program = "import operator, sys; operator.itemgetter(0); print(operator.__file__)"
    for flags in ([], ["-S", "-E"]):
        argv = [sys.executable, *flags, "-c", program]
        told = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=True).stdout
        assert not Path(told.strip()).is_relative_to(ROOT / "operator")
    assert not (ROOT / "operator" / "__init__.py").exists()


def test_with_both_source_folders_on_the_path_the_standard_library_still_wins() -> None:
    path = os.pathsep.join([str(ROOT), str(ROOT / "operator"), str(ROOT / "runtime")])
    program = "import operator, laneway, laneway_operator; operator.itemgetter(0)"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, check=True)


def test_the_wheel_holds_both_packages_whole(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    for source, prefix in ((ROOT / "runtime" / "laneway", "laneway"), (ROOT / "operator", "")):
        sources = {(Path(prefix) / path.relative_to(source)).as_posix() for path in source.rglob("*.py")}
        assert sources
        assert sources <= names
    assert "laneway/py.typed" in names


def test_the_wheel_holds_every_script(wheel: zipfile.ZipFile) -> None:
    sources = {path.relative_to(ROOT / "lua").as_posix() for path in (ROOT / "lua").rglob("*.lua")}
    packed = {name.removeprefix("laneway/lua/") for name in wheel.namelist() if name.endswith(".lua")}
    assert packed == sources


def test_the_wheel_holds_the_dashboard_as_built_and_not_its_sources(wheel: zipfile.ZipFile) -> None:
    static = ROOT / "runtime" / "laneway" / "dashboard" / "static"
    built = {f"laneway/dashboard/static/{path.relative_to(static).as_posix()}" for path in static.rglob("*.*")}
    packed = {name for name in wheel.namelist() if name.startswith("laneway/dashboard/")}
    assert built and built <= packed
    assert {name for name in packed - built if not name.endswith(".py")} == set()


def test_the_wheel_holds_nothing_else(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert tops == {"laneway", "laneway_operator", "laneway-0.1.0.dist-info"}


def test_the_wheel_tells_its_name_licence_and_needs(wheel: zipfile.ZipFile) -> None:
    told = email.message_from_bytes(wheel.read("laneway-0.1.0.dist-info/METADATA"))
    assert (told["Name"], told["Version"], told["License-Expression"]) == ("laneway", "0.1.0", "Apache-2.0")
    assert told["Requires-Python"] == ">=3.11"
    assert set(told.get_all("Provides-Extra", [])) >= {"embedded", "operator", "dev"}
    assert b"laneway = laneway.cli.main:main" in wheel.read("laneway-0.1.0.dist-info/entry_points.txt")
