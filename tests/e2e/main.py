"""The command `hack/e2e` (`make e2e`): everything around the tests themselves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from tests.e2e import images
from tests.e2e.report import Report
from tests.e2e.settings import ENV, Run

from image_build.errors import BuildFailed
from servers import kubernetes_build
from servers.clusters import Cluster, ClusterFailed, GivenCluster, choose
from servers.need import in_ci
from servers.node.run import CommandFailed
from servers.process import ServerFailed

_FAILURES = (BuildFailed, ClusterFailed, CommandFailed, ServerFailed, images.NoRegistry, kubernetes_build.BuildFailed)
#: A test may take so long (s): longer than all that it waits for.
_TEST_TIMEOUT_S = 240


REUSE = "--reuse-images"
_REUSE_HELP = (
    "the images of an earlier run are taken as they are, and a cluster that was up already has them;\n"
    "for work on the tests themselves"
)


def main(argv: Sequence[str], root: Path, about: str) -> int:
    """Run it; the exit code is pytest's, 1 if it could not begin, 130 after Ctrl-C."""
    if {"-h", "--help"} & set(argv):
        print(f"{about}\n{REUSE}: {_REUSE_HELP}")
        return 0
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    cluster = choose(root / ".cluster")
    with tempfile.TemporaryDirectory(prefix="laneway-e2e-") as folder:
        report = Report(Path(folder) / "results.jsonl")
        given = [argument for argument in argv if argument != REUSE]
        try:
            return _run(given, root, cluster, report, reuse=REUSE in argv)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return 130
        except _FAILURES as error:
            print(error, file=sys.stderr)
            return 1
        finally:
            print(report.table())
            print(report.last_line(), flush=True)


def _run(argv: Sequence[str], root: Path, cluster: Cluster, report: Report, *, reuse: bool) -> int:
    ours = not cluster.running()
    if ours and (lacks := cluster.lacks()):
        kind = "CI has to run these tests" if in_ci() else "the end-to-end tests need a cluster"
        raise ClusterFailed("\n".join([f"{kind}, and none can be started here ({cluster.kind}):", *lacks]))
    throwaway = ours and not isinstance(cluster, GivenCluster)
    names = images.plan(cluster, report.path, throwaway=throwaway)
    try:
        if ours or not reuse:
            _prepare(root, cluster, names, report, reuse)
        return _test(argv, root, cluster, names)
    finally:
        # Once begun, it is done to its end, whoever asks again.
        with _uninterrupted(), report.timed("take all away"):
            if throwaway:
                _cluster(root, "down")


def _prepare(root: Path, cluster: Cluster, names: Run, report: Report, reuse: bool) -> None:
    """The cluster and the images, at the same time: one waits for processes, the other for compilers."""
    failures: list[BaseException] = []

    def bring_up() -> None:
        try:
            with report.timed("cluster"):
                _cluster(root, "up")
                images.load_services(cluster, _say)
        except _FAILURES as error:
            failures.append(error)

    thread = threading.Thread(target=bring_up)
    thread.start()
    try:
        with report.timed("images"):
            if not reuse:
                images.build(root, names, cluster, _say)
    finally:
        thread.join()
    if failures:
        raise failures[0]
    with report.timed("images into the cluster"):
        images.load(names, cluster)


def _cluster(root: Path, action: str) -> None:
    """By its own command, which lets one at a time."""
    argv = [str(root / "hack" / "cluster"), action]
    if subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=sys.stderr).returncode != 0:
        raise ClusterFailed(f"hack/cluster {action} failed")


def _test(argv: Sequence[str], root: Path, cluster: Cluster, names: Run) -> int:
    kubernetes_build.build(("helm", "kubectl"), _say)
    programs = {str(program.parent) for name in ("kubectl", "helm") if (program := kubernetes_build.find(name))}
    env = {
        **os.environ,
        ENV: names.to_env(),
        "KUBECONFIG": str(cluster.kubeconfig),
        "PATH": os.pathsep.join([*sorted(programs), os.environ.get("PATH", os.defpath)]),
    }
    pytest = [sys.executable, "-m", "pytest", "tests/e2e", "-q", "--timeout", str(_TEST_TIMEOUT_S), *argv]
    process = subprocess.Popen(cluster.command(pytest), cwd=root, env=env, stdin=subprocess.DEVNULL)
    try:
        return process.wait()
    except KeyboardInterrupt:
        # Ctrl-C went to both; a SIGTERM came to this process alone. pytest then takes away what it has made.
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        with _uninterrupted():
            process.wait()
        raise


class _uninterrupted:
    """Until the end of the block, signals to stop are not heard."""

    def __enter__(self) -> None:
        self._before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
