"""A real Kubernetes API server for the session, and a namespace of its own for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.operator.objects import Objects
from tests.operator.running import RunningOperator, World

from crd_install import install
from servers.envtest import Envtest
from servers.need import require
from servers.redis import RedisServer


@pytest.fixture(scope="session")
def redis7(redis7_binary: Path) -> Iterator[RedisServer]:
    """A Redis 7 for this folder alone: the session's operator puts its queues back into it, whoever empties it."""
    with RedisServer(redis7_binary) as server:
        yield server


@pytest.fixture(scope="session")
def _envtest_session() -> Iterator[Envtest]:
    require("kubernetes")
    with Envtest() as server:
        yield server


@pytest.fixture
def envtest(_envtest_session: Envtest) -> Envtest:
    """The session's API server, running; objects of earlier tests stay, so name your own or take `namespace`."""
    _envtest_session.ensure()
    return _envtest_session


@pytest.fixture
def kubernetes(envtest: Envtest) -> Path:
    """The kubeconfig of the session's API server, for a user who may do all."""
    return envtest.kubeconfig


@pytest.fixture(scope="session")
def _crds_session(_envtest_session: Envtest) -> None:
    install(_envtest_session.admin)


@pytest.fixture
def objects(envtest: Envtest, _crds_session: None, namespace: str) -> Objects:
    """Laneway's objects in a new namespace of the session's API server, which has the CRDs."""
    return Objects(envtest.admin, namespace)


@pytest.fixture
def namespace(envtest: Envtest) -> str:
    """The name of a new namespace; it is never deleted, because no controller runs that would empty it."""
    return envtest.create_namespace()


@pytest.fixture(scope="session")
def _world_session(
    _envtest_session: Envtest, _crds_session: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    namespace = _envtest_session.create_namespace("passes-")
    folder = tmp_path_factory.mktemp("operator")
    with RunningOperator(_envtest_session.kubeconfig, [namespace], folder, cleanup_deadline="3s") as operator:
        yield World(_envtest_session.admin, namespace, operator)


@pytest.fixture
def world(envtest: Envtest, _world_session: World) -> World:
    """A namespace that one operator watches for the whole session: name your own objects."""
    assert _world_session.operator.process.poll() is None, _world_session.operator.log.read_text()[-4000:]
    return _world_session


@pytest.fixture
def controlled(tmp_path: Path) -> Iterator[World]:
    """A namespace of an API server of its own, where Deployments become pods (which no node runs)."""
    require("kubernetes_controllers")
    with Envtest(controllers=["deployment-controller", "replicaset-controller"]) as server:
        install(server.admin)
        namespace = server.create_namespace()
        with RunningOperator(server.kubeconfig, [namespace], tmp_path) as operator:
            yield World(server.admin, namespace, operator)
