"""Kubernetes' own programs, built once from their public Go modules into the user's cache, keyed by version.

`KUBEBUILDER_ASSETS`, a folder that holds kube-apiserver, etcd and kubectl, wins over the cache when it is set.
"""

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

KUBERNETES = "v1.34.4"
HELM = "v3.22.0"
HELM_UNITTEST = "v1.1.2"
COREDNS = "v1.15.0"
GO_AT_LEAST = (1, 26)
_PROGRESS_S = 15.0


@dataclass(frozen=True)
class Source:
    """One Go module, and what is built from it."""

    name: str
    module: str
    version: str
    programs: dict[str, str]
    """Where each program's main package is, by the program's name."""
    ldflags: dict[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where the programs of this version are kept, whether or not they are there yet."""
        return cache_folder() / f"{self.name}-{self.version}"


def _kubernetes() -> Source:
    major, minor = KUBERNETES.removeprefix("v").split(".")[:2]
    # Clients read the version from /version; without these it is "v0.0.0-master", which they cannot parse.
    version = {"gitVersion": KUBERNETES, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    programs = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl")
    return Source(
        "kubernetes",
        "k8s.io/kubernetes",
        KUBERNETES,
        {program: f"k8s.io/kubernetes/cmd/{program}" for program in programs},
        {
            f"k8s.io/{package}/version.{key}": value
            for package in ("component-base", "client-go/pkg")
            for key, value in version.items()
        },
    )


SOURCES = (
    _kubernetes(),
    Source(
        "helm",
        "helm.sh/helm/v3",
        HELM,
        {"helm": "helm.sh/helm/v3/cmd/helm"},
        {"helm.sh/helm/v3/internal/version.version": HELM},
    ),
    Source(
        "helm-unittest",
        "github.com/helm-unittest/helm-unittest",
        HELM_UNITTEST,
        {"helm-unittest": "github.com/helm-unittest/helm-unittest/cmd/helm-unittest"},
    ),
    Source("coredns", "github.com/coredns/coredns", COREDNS, {"coredns": "github.com/coredns/coredns"}),
)
ENVTEST = ("kube-apiserver", "kubectl")
"""What tests on an API server alone need, beside etcd."""
CHART = ("helm", "helm-unittest")
"""What tests of the chart need."""
PROGRAMS = tuple(program for source in SOURCES for program in source.programs)


class BuildFailed(RuntimeError):
    """A program could not be built; the message carries the end of what go said."""


def cache_folder() -> Path:
    """The cache of all that Laneway's development fetches or builds."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "laneway"


def find(program: str) -> Path | None:
    """The program from KUBEBUILDER_ASSETS, else the cache, and etcd also from PATH; None if it is not there."""
    if assets := os.environ.get("KUBEBUILDER_ASSETS"):
        given = Path(assets) / program
        if given.is_file():
            return given
    if program == "etcd":
        found = shutil.which("etcd")
        return Path(found) if found else None
    built = _source(program).folder / program
    return built if built.is_file() else None


def missing(programs: Sequence[str] = (*ENVTEST, "etcd")) -> str | None:
    """What this machine lacks to run these programs as it is, and how to get it; None if nothing."""
    absent = [program for program in programs if find(program) is None]
    if "etcd" in absent:
        return "etcd is neither on PATH (Debian: apt-get install etcd-server) nor in KUBEBUILDER_ASSETS"
    if not absent:
        return None
    names = ", ".join(absent)
    how = "`hack/cluster build` builds what is not there, once (some minutes)"
    return f"{names}: not built yet; {_go_missing() or how}"


def cannot_build(programs: Sequence[str]) -> str | None:
    """Why those of these programs that are not there cannot be built here; None if they are there or can be."""
    absent = [program for program in programs if find(program) is None]
    lacks = _go_missing() if absent else None
    return f"{', '.join(absent)}: {lacks}" if lacks else None


def build(programs: Sequence[str] = PROGRAMS, say: Callable[[str], None] | None = None) -> dict[str, float]:
    """Build those that are not there yet, one process at a time; the seconds that each source took.

    Raises `BuildFailed`.
    """
    say = say or _say
    took = {}
    for source in SOURCES:
        wanted = [program for program in source.programs if program in programs]
        if all(find(program) for program in wanted):
            continue
        source.folder.mkdir(parents=True, exist_ok=True)
        with (source.folder.parent / f".{source.folder.name}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say(f"another process is building {source.name} {source.version}: waiting for it")
                fcntl.flock(lock, fcntl.LOCK_EX)
            # Another process may have built some while this one waited.
            if left := [program for program in wanted if find(program) is None]:
                took[source.name] = _build(source, left, say)
    return took


def _build(source: Source, programs: Sequence[str], say: Callable[[str], None]) -> float:
    if lacks := _go_missing():
        raise BuildFailed(f"{', '.join(programs)} cannot be built: {lacks}")
    start = time.monotonic()
    say(f"building {', '.join(programs)} {source.version} (minutes the first time)")
    work = Path(tempfile.mkdtemp(prefix=f".{source.name}-", dir=source.folder.parent))
    try:
        _write_module(source, work)
        flags = " ".join(f"-X {key}={value}" for key, value in source.ldflags.items())
        (work / "bin").mkdir()
        argv = ["go", "build", "-v", "-mod=mod", "-trimpath", "-ldflags", f"-s -w {flags}", "-o", "bin/"]
        _go([*argv, *(source.programs[program] for program in programs)], work, say)
        for program in programs:
            # Each appears whole, by one rename.
            (work / "bin" / program).rename(source.folder / program)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    took = time.monotonic() - start
    say(f"built {', '.join(programs)} in {took:.0f} s")
    return took


def _write_module(source: Source, work: Path) -> None:
    """A module of our own that requires the source, with the replacements that its own go.mod has.

    `go install module@version` refuses a module with replacements, and Kubernetes has one for each of its
    staging modules: they are released under the same number, as v0.
    """
    said = _run(["go", "mod", "download", "-json", f"{source.module}@{source.version}"], work)
    own = json.loads(_run(["go", "mod", "edit", "-json", json.loads(said)["GoMod"]], work))
    lines = ["module laneway.dev/build", f"go {own['Go']}", f"require {source.module} {source.version}"]
    staged = re.sub(r"^v1\.", "v0.", source.version)
    for requirement in own.get("Require") or []:
        if requirement["Version"] == "v0.0.0":
            lines.append(f"replace {requirement['Path']} => {requirement['Path']} {staged}")
    for replacement in own.get("Replace") or []:
        new = replacement["New"]
        if "Version" in new:  # one without a version is a folder of its own tree
            lines.append(f"replace {replacement['Old']['Path']} => {new['Path']} {new['Version']}")
    (work / "go.mod").write_text("\n".join(lines) + "\n")


def _go(argv: Sequence[str], work: Path, say: Callable[[str], None]) -> None:
    """Run go, saying now and then how many packages are compiled; its last lines if it fails."""
    last, packages, told = list[str](), 0, time.monotonic()
    with subprocess.Popen(
        argv,
        cwd=work,
        env=os.environ | {"CGO_ENABLED": "0"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as going:
        assert going.stdout is not None
        for line in going.stdout:
            last = [*last[-30:], line]
            packages += not line.startswith("go: ")
            if time.monotonic() - told > _PROGRESS_S:
                told = time.monotonic()
                say(f"  {packages} packages compiled")
    if going.returncode != 0:
        raise BuildFailed(f"{' '.join(argv[:2])} failed:\n{''.join(last)}")


def _go_missing() -> str | None:
    wanted = f"version {'.'.join(map(str, GO_AT_LEAST))} or newer builds them"
    if shutil.which("go") is None:
        return f"go is not on PATH ({wanted})"
    said = subprocess.run(["go", "version"], capture_output=True, text=True).stdout
    version = re.search(r"go(\d+)\.(\d+)", said)
    if version is not None and (int(version[1]), int(version[2])) >= GO_AT_LEAST:
        return None
    # From 1.21 on, go fetches the version that a module asks for, unless it is told not to.
    chosen = subprocess.run(["go", "env", "GOTOOLCHAIN"], capture_output=True, text=True).stdout.strip()
    return None if chosen.startswith("auto") else f"{said.strip()} is too old ({wanted})"


def _run(argv: Sequence[str], cwd: Path) -> str:
    done = subprocess.run(argv, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise BuildFailed(f"{' '.join(argv)} failed:\n{(done.stdout + done.stderr)[-2000:]}")
    return done.stdout


def _source(program: str) -> Source:
    for source in SOURCES:
        if program in source.programs:
            return source
    raise ValueError(f"no such program: {program}; there are {', '.join(PROGRAMS)} and etcd")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
