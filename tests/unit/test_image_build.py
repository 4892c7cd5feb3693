"""Building images: what is asked of the builder, and bases and wheels that do not fit are refused."""

import json
import platform
import re
import stat
import sys
from pathlib import Path

import pytest

from image_build import wheels
from image_build.builders import Buildah, Docker, Interpreter, bytes_of, choose, parsed
from image_build.errors import BuildFailed
from image_build.main import main

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH of this folder alone."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def _program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!{sys.executable}\nimport json, sys\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ([[3, 12], "x86_64", "2.36", "glibc"], Interpreter((3, 12), "x86_64", (2, 36))),
        ([[3, 11], "aarch64", "2.41", "glibc"], Interpreter((3, 11), "aarch64", (2, 41))),
    ],
)
def test_the_python_of_a_base_is_what_it_says(said: list[object], wanted: Interpreter) -> None:
    assert parsed(json.dumps(said), "base") == wanted


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ([[3, 10], "x86_64", "2.36", "glibc"], "old has Python 3.10; Laneway needs 3.11 or newer"),
        ([[3, 12], "x86_64", "", ""], "old is not built on glibc"),
    ],
)
def test_a_base_that_does_not_fit_is_refused(said: list[object], why: str) -> None:
    with pytest.raises(BuildFailed, match=re.escape(why)):
        parsed(json.dumps(said), "old")


@pytest.mark.parametrize(
    ("text", "size"), [("190 MB", 190_000_000), ("85.4 MB", 85_400_000), ("686 KB", 686_000), ("1.2 GB", 1_200_000_000)]
)
def test_a_size_is_read_as_buildah_tells_it(text: str, size: int) -> None:
    assert bytes_of(text) == size


def test_what_is_no_size_is_told() -> None:
    with pytest.raises(BuildFailed, match="told a size of 'big'"):
        bytes_of("big")


def test_for_the_same_python_pip_chooses_by_itself() -> None:
    own = Interpreter((sys.version_info[0], sys.version_info[1]), platform.machine(), (2, 36))
    assert wheels.fitting(own) == []


def test_for_another_python_no_wheel_newer_than_its_glibc_is_taken() -> None:
    argv = wheels.fitting(Interpreter((3, 99), "riscv64", (2, 36)))
    assert argv[argv.index("--python-version") + 1] == "399"
    platforms = [argv[at + 1] for at, word in enumerate(argv) if word == "--platform"]
    assert "manylinux_2_36_riscv64" in platforms
    assert "manylinux2014_riscv64" in platforms
    assert "manylinux_2_37_riscv64" not in platforms
    abis = [argv[at + 1] for at, word in enumerate(argv) if word == "--abi"]
    assert abis == ["cp399", "abi3", "none"]


def test_without_a_builder_it_is_said_what_to_install(programs: Path) -> None:
    with pytest.raises(BuildFailed, match="apt-get install buildah"):
        choose("auto")


def test_docker_is_taken_only_where_its_daemon_answers(programs: Path) -> None:
    _program(programs, "buildah", "")
    _program(programs, "docker", "sys.exit(1)")
    assert isinstance(choose("auto"), Buildah)
    _program(programs, "docker", "sys.exit(0)")
    assert isinstance(choose("auto"), Docker)


def test_what_a_failing_build_said_is_told(programs: Path, tmp_path: Path) -> None:
    _program(programs, "buildah", "print('step 3: no such file', file=sys.stderr); sys.exit(2)")
    with pytest.raises(BuildFailed, match=r"exit code 2\nstep 3: no such file"):
        Buildah().build(tmp_path, base="b", target="runtime", tag="t", arguments={})


@pytest.mark.parametrize("builder", [Buildah(), Docker()])
def test_a_build_names_base_target_and_labels(builder: Buildah | Docker, programs: Path, tmp_path: Path) -> None:
    name = type(builder).__name__.lower()
    _program(programs, name, f"json.dump(sys.argv[1:], open({str(tmp_path / 'argv')!r}, 'w'))")
    builder.build(tmp_path, base="example/base:1", target="operator", tag="example/o:2", arguments={"VERSION": "2"})
    argv = json.loads((tmp_path / "argv").read_text())
    assert argv[argv.index("--target") + 1] == "operator"
    assert argv[argv.index("--tag") + 1] == "example/o:2"
    assert "BASE=example/base:1" in argv
    assert "VERSION=2" in argv
    assert argv[-1] == "."


def test_a_name_with_an_unknown_field_is_refused_before_anything_is_built(
    programs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["build", "--name", "localhost/{image}"], tmp_path) == 2
    assert "only {target} and {version} can be filled in" in capsys.readouterr().err
    assert not (tmp_path / "dist").exists()


def _stages() -> dict[str, list[str]]:
    """The instructions of each stage of the Dockerfile, continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    stages: dict[str, list[str]] = {}
    for line in text.splitlines():
        if match := re.match(r"FROM (\S+) AS (\S+)$", line):
            stages[match[2]] = [*stages.get(match[1], [])]
            current = stages[match[2]]
        elif line.strip() and stages:
            current.append(line)
    return stages


@pytest.mark.parametrize("target", ["runtime", "operator"])
def test_an_image_runs_as_nobody_in_particular_and_ends_with_that(target: str) -> None:
    instructions = _stages()[target]
    users = [line for line in instructions if line.startswith("USER ")]
    assert users == ["USER 65532:65532"]
    after = instructions[instructions.index(users[0]) :]
    assert not [line for line in after if line.startswith(("RUN", "COPY", "ADD"))]
    for word in ("HEALTHCHECK", "ENTRYPOINT", "CMD", "STOPSIGNAL"):
        assert [line for line in instructions if line.startswith(word)], f"{target} has no {word}"


def test_the_builder_is_given_wheels_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == ["*", "!constraints.txt", "!dist/wheels"]
