"""A real Kubernetes API server for the session, and a namespace of its own for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.operator.objects import Objects

from crd_install import install
from servers.envtest import Envtest
from servers.need import require


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
