"""The two programs that build images: what each is asked, and how."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from image_build.errors import BuildFailed, run

_PROBE = (
    "import json, platform, sys; print(json.dumps([list(sys.version_info[:2]), platform.machine(),"
    " platform.libc_ver()[1], platform.libc_ver()[0]]))"
)


@dataclass(frozen=True)
class Interpreter:
    """The Python of an image: what wheels must fit."""

    version: tuple[int, int]
    machine: str
    glibc: tuple[int, int]


class Builder(Protocol):
    """A program that builds images."""

    def interpreter(self, base: str, root: Path) -> Interpreter:
        """The `python3` of this image. Raises `BuildFailed`."""

    def build(self, root: Path, *, base: str, target: str, tag: str, arguments: Mapping[str, str]) -> None:
        """Build one target of the Dockerfile. Raises `BuildFailed`."""

    def size(self, tag: str, root: Path) -> int:
        """Bytes of the image's layers, uncompressed."""


class Buildah:
    """buildah, which needs neither a daemon nor, with chroot isolation, more than a root shell."""

    def interpreter(self, base: str, root: Path) -> Interpreter:
        """See `Builder`."""
        container = run(["buildah", "from", "--pull=missing", base], root, quiet=True).strip()
        try:
            said = run(
                ["buildah", "run", "--isolation", "chroot", container, "python3", "-c", _PROBE], root, quiet=True
            )
        finally:
            run(["buildah", "rm", container], root, quiet=True)
        return parsed(said, base)

    def build(self, root: Path, *, base: str, target: str, tag: str, arguments: Mapping[str, str]) -> None:
        """See `Builder`. The Docker format is the one that keeps HEALTHCHECK."""
        argv = ["buildah", "bud", "--isolation", "chroot", "--format", "docker", "--layers", "--pull=missing"]
        argv += ["--target", target, "--tag", tag, "--build-arg", f"BASE={base}"]
        for name, value in arguments.items():
            argv += ["--build-arg", f"{name}={value}"]
        run([*argv, "."], root, quiet=True)

    def size(self, tag: str, root: Path) -> int:
        """See `Builder`."""
        listed = json.loads(run(["buildah", "images", "--json", tag], root, quiet=True))
        return bytes_of(listed[0]["size"])


class Docker:
    """docker, with a daemon that answers."""

    def interpreter(self, base: str, root: Path) -> Interpreter:
        """See `Builder`."""
        said = run(["docker", "run", "--rm", "--entrypoint", "python3", base, "-c", _PROBE], root, quiet=True)
        return parsed(said, base)

    def build(self, root: Path, *, base: str, target: str, tag: str, arguments: Mapping[str, str]) -> None:
        """See `Builder`."""
        argv = ["docker", "build", "--target", target, "--tag", tag, "--build-arg", f"BASE={base}"]
        for name, value in arguments.items():
            argv += ["--build-arg", f"{name}={value}"]
        run([*argv, "."], root, env={**os.environ, "DOCKER_BUILDKIT": "1"})

    def size(self, tag: str, root: Path) -> int:
        """See `Builder`."""
        return int(run(["docker", "image", "inspect", "--format", "{{.Size}}", tag], root, quiet=True))


def choose(name: str) -> Builder:
    """The builder of this name; `auto`: Docker if its daemon answers, else buildah. Raises `BuildFailed`."""
    if name == "docker" or (name == "auto" and _docker_answers()):
        return Docker()
    if name == "buildah" or shutil.which("buildah"):
        return Buildah()
    raise BuildFailed(
        "no builder: neither does a Docker daemon answer, nor is buildah there (Debian: apt-get install buildah)"
    )


def _docker_answers() -> bool:
    if shutil.which("docker") is None:
        return False
    done = subprocess.run(["docker", "info"], stdin=subprocess.DEVNULL, capture_output=True)
    return done.returncode == 0


def parsed(said: str, base: str) -> Interpreter:
    """The Python that an image says it has. Raises `BuildFailed` for one that Laneway does not run on."""
    version, machine, glibc, libc = json.loads(said)
    if libc != "glibc":
        raise BuildFailed(f"{base} is not built on glibc, and Laneway's wheels are: take an image of Debian's kind")
    if tuple(version) < (3, 11):
        raise BuildFailed(f"{base} has Python {version[0]}.{version[1]}; Laneway needs 3.11 or newer")
    major, minor = glibc.split(".")[:2]
    return Interpreter((version[0], version[1]), machine, (int(major), int(minor)))


def bytes_of(text: str) -> int:
    """What buildah calls `85.4 MB`."""
    found = re.fullmatch(r"([\d.]+) ?([kKMG]?)B", text)
    if found is None:
        raise BuildFailed(f"buildah told a size of {text!r}, which is none")
    return int(float(found[1]) * {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9}[found[2]])
