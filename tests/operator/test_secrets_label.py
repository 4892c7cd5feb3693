"""An installation that lets only marked Secrets be used sends nothing of the others anywhere."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from tests.operator.running import RunningOperator, World

from servers.envtest import Envtest
from servers.redis import RedisServer

_LABEL = "laneway.dev/usable=true"


@pytest.fixture(scope="module")
def strict(_envtest_session: Envtest, _crds_session: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    namespace = _envtest_session.create_namespace("strict-")
    folder = tmp_path_factory.mktemp("operator")
    with RunningOperator(_envtest_session.kubeconfig, [namespace], folder, secrets_label=_LABEL) as operator:
        yield World(_envtest_session.admin, namespace, operator)


@pytest.fixture
def eavesdropper() -> Iterator[tuple[int, list[bytes]]]:
    """A port that answers as no Redis would, and what was sent there."""
    heard: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                client.settimeout(3)
                try:
                    heard.append(client.recv(4096))
                    client.sendall(b"-ERR no\r\n")
                except OSError:
                    continue

    threading.Thread(target=serve, daemon=True).start()
    yield int(listener.getsockname()[1]), heard
    listener.close()


def _spec(port: int, secret: str) -> dict[str, object]:
    return {"redis": {"url": f"redis://127.0.0.1:{port}/0", "passwordSecretRef": {"name": secret, "key": "token"}}}


def test_a_secret_without_the_label_is_sent_to_no_server(strict: World, eavesdropper: tuple[int, list[bytes]]) -> None:
    port, heard = eavesdropper
    strict.secret("theirs", token="the-secret-of-another-app")
    strict.create("TaskQueue", "curious", _spec(port, "theirs"))
    told = strict.told("TaskQueue", "curious", "Ready", "False", "AccessDenied")
    assert f"Secret theirs in namespace {strict.namespace} has not the label {_LABEL}" in told["message"]
    assert "the-secret" not in told["message"]
    assert heard == []
    assert strict.find("Deployment", "laneway-curious-gateway") is None
    # What it is for: marked, it is used (and this Redis is none).
    strict.patch("Secret", "theirs", {"metadata": {"labels": dict([_LABEL.split("=")])}})
    strict.told("TaskQueue", "curious", "LimiterReady", "False", "DependencyUnavailable")
    assert any(b"the-secret-of-another-app" in said for said in heard)


def test_workers_get_no_secret_without_the_label(strict: World, redis7: RedisServer) -> None:
    redis7.ensure()
    strict.secret("plain", token="x")
    strict.create("TaskQueue", "labelled", {"redis": {"url": redis7.url}})
    for name, field in (
        ("by-env", {"env": [{"name": "TOKEN", "secretRef": {"name": "plain", "key": "token"}}]}),
        ("by-env-from", {"envFrom": [{"secretRef": {"name": "plain"}}]}),
    ):
        strict.create("WorkerPool", name, {"queueRef": {"name": "labelled"}, "app": "a:b", **field})
        told = strict.told("WorkerPool", name, "WorkersAvailable", "False", "AccessDenied")
        assert "has not the label" in told["message"]
        assert strict.find("Deployment", f"laneway-{name}-worker") is None


def test_a_secret_with_a_wrong_url_is_told_and_nothing_of_it(strict: World) -> None:
    urls: tuple[str | bytes, ...] = (
        "redis//user:hunter2@localhost:6379/0",
        "redis://user:hunter2@localhost:notaport/0",
        "redis://user:hunter2@localhost:1/0?socket_timeout=x",
        "redis://localhost:1/0?password=hunter2",
        "redis://user:hun/ter2@localhost:1/0",
        "unix://user:hunter2@/run/redis.sock",
        b"redis://user:hunter2\xff@localhost:1",
    )
    for n, url in enumerate(urls):
        strict.secret(f"url-{n}", url=url)
        strict.patch("Secret", f"url-{n}", {"metadata": {"labels": dict([_LABEL.split("=")])}})
        strict.create("TaskQueue", f"leak-{n}", {"redis": {"secretRef": {"name": f"url-{n}", "key": "url"}}})
    for n in range(len(urls)):
        told = strict.told("TaskQueue", f"leak-{n}", "Ready", "False", "SecretInvalid")
        assert f"url-{n}" in told["message"]
    said = strict.operator.log.read_text() + str(
        [strict.get("TaskQueue", f"leak-{n}")["status"] for n in range(len(urls))]
    )
    for part in ("hunter2", "'hun'", "ter2@", "notaport"):
        assert part not in said


def test_a_gateway_gets_no_file_of_keys_without_the_label(strict: World, redis7: RedisServer) -> None:
    redis7.ensure()
    strict.secret("unmarked", keys_yaml="keys: []")
    auth = {"keys": {"secretRef": {"name": "unmarked", "key": "keys.yaml"}}}
    strict.create("TaskQueue", "keyless", {"redis": {"url": redis7.url}, "gateway": {"auth": auth}})
    told = strict.told("TaskQueue", "keyless", "GatewayAvailable", "False", "AccessDenied")
    assert f"Secret unmarked in namespace {strict.namespace} has not the label {_LABEL}" in told["message"]
    assert strict.find("Deployment", "laneway-keyless-gateway") is None
    strict.patch("Secret", "unmarked", {"metadata": {"labels": dict([_LABEL.split("=")])}})
    strict.run_queue("keyless")
