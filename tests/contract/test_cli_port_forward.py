"""--port-forward: kubectl is started, used, and ended with the command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import CliRunner, Result
from tests.contract.cli_queue import CliQueue
from tests.contract.gateway_process import PLACES, GatewayProcess

from laneway.cli.main import main
from laneway.cli.portforward import Service, service

STAND_IN = Path(__file__).with_name("stand_in_kubectl.py")


def _heeding_signals() -> None:
    """As from a terminal: what a shell starts in the background inherits that these are ignored."""
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


@dataclass
class Cluster:
    """A gateway that is reached by kubectl alone, as the Service shop/laneway-orders:80."""

    env: dict[str, str]
    pid_file: Path

    def run(self, *args: str, **env: str) -> Result:
        said: dict[str, str | None] = dict.fromkeys(PLACES)
        return CliRunner(env={**said, **self.env, **env}).invoke(main, list(args))

    def start(self, *args: str) -> subprocess.Popen[str]:
        env = {name: value for name, value in os.environ.items() if name not in PLACES} | self.env
        return subprocess.Popen(
            [sys.executable, "-m", "laneway", *args],
            env=env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=_heeding_signals,
        )

    def gone(self) -> bool:
        """Whether the kubectl that was started has ended."""
        try:
            # (where nobody buries orphans, a dead one stays as a zombie)
            return psutil.Process(int(self.pid_file.read_text())).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True


@pytest.fixture
def cluster(gateway: GatewayProcess, redis7_url: str, tmp_path: Path) -> Cluster:
    CliQueue(redis7_url).configure()
    folder = tmp_path / "bin"
    folder.mkdir()
    kubectl = folder / "kubectl"
    kubectl.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{STAND_IN}" "$@"\n')
    kubectl.chmod(0o700)
    return Cluster(
        {
            "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
            "FORWARD_TO": gateway.url.removeprefix("http://"),
            "FORWARD_SERVICE": "shop/laneway-orders:80",
            "FORWARD_PID": str(tmp_path / "pid"),
            "LANEWAY_CONTEXTS": str(tmp_path / "contexts.yaml"),
        },
        tmp_path / "pid",
    )


def test_a_command_reaches_the_gateway_through_kubectl_and_ends_it(cluster: Cluster, redis7_url: str) -> None:
    CliQueue(redis7_url).submit(3)
    result = cluster.run("stats", "--port-forward", "shop/laneway-orders", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    stats = json.loads(result.stdout)
    assert (stats["queue"], stats["tasks"]["queued"]) == ("orders", 3)
    assert cluster.gone()
    shown = cluster.run("stats", LANEWAY_PORT_FORWARD="shop/laneway-orders")
    assert "queue orders at shop/laneway-orders" in shown.stdout
    assert cluster.gone()


def test_a_context_may_name_the_service_and_kubectl_s_own_context(cluster: Cluster) -> None:
    added = ["context", "add", "dev", "--port-forward", "shop/laneway-orders", "--kube-context"]
    assert cluster.run(*added, "kind-dev").exit_code == 0
    assert cluster.run("queue", "list", "--json").exit_code == 0
    assert cluster.gone()
    assert cluster.run(*added, "nope", "--replace").exit_code == 0
    result = cluster.run("queue", "list")
    assert (result.exit_code, result.stdout) == (5, "")
    assert 'error: context "nope" does not exist' in result.stderr


def test_what_kubectl_says_when_it_does_not_forward_is_told(cluster: Cluster) -> None:
    result = cluster.run("stats", "--port-forward", "shop/laneway-mail")
    assert (result.exit_code, result.stdout) == (5, "")
    assert "kubectl port-forward to shop/laneway-mail ended with 1: Error from server (NotFound)" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    result = cluster.run("stats", "--port-forward", "shop/laneway-orders", PATH="/nowhere")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "there is no kubectl on PATH" in result.stderr


def test_a_gateway_that_went_away_behind_kubectl_is_5(cluster: Cluster) -> None:
    result = cluster.run("stats", "-q", "orders", "--port-forward", "shop/laneway-orders", FORWARD_TO="127.0.0.1:1")
    assert (result.exit_code, result.stdout) == (5, "")
    assert cluster.gone()


def test_a_kubectl_that_ends_is_started_again(cluster: Cluster) -> None:
    process = cluster.start("top", "--json", "--every", "0.1", "--port-forward", "shop/laneway-orders")
    try:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["queue"] == "orders"
        first = int(cluster.pid_file.read_text())
        os.kill(first, signal.SIGKILL)
        while int(cluster.pid_file.read_text() or 0) in (0, first):
            assert json.loads(process.stdout.readline())["queue"] == "orders"
        for _ in range(20):  # (some may have been on their way)
            assert json.loads(process.stdout.readline())["queue"] == "orders"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
        assert cluster.gone()
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    "number",
    [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGKILL],
    ids=["Ctrl-C", "SIGTERM", "terminal closed", "SIGQUIT", "SIGKILL"],
)
def test_kubectl_ends_however_the_command_does(cluster: Cluster, number: signal.Signals) -> None:
    process = cluster.start("stats", "--watch", "--json", "--port-forward", "shop/laneway-orders")
    try:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["queue"] == "orders"
        process.send_signal(number)
        process.communicate(timeout=30)
        deadline = time.monotonic() + 20
        while not cluster.gone() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert cluster.gone()
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("shop/laneway-orders", Service("shop", "laneway-orders", "80")),
        ("shop/laneway-orders:8080", Service("shop", "laneway-orders", "8080")),
        ("a/b:http", Service("a", "b", "http")),
        *((wrong, None) for wrong in ("", "a", "/b", "a/", "a/b/c", "a/b:", "A/b", "-a/b", "a/--all", "a/b:99:1")),
    ],
)
def test_a_service_is_named_by_its_namespace_and_name(text: str, meant: Any) -> None:
    if meant is None:
        with pytest.raises(ValueError, match="must be NAMESPACE/SERVICE"):
            service(text)
    else:
        assert service(text) == meant
