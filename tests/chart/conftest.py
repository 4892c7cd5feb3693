"""The chart by the real Helm, and an API server of its own to install it on.

That server is not the one of other tests: custom resource definitions are the whole cluster's, and here they come
and go.
"""

import json
from collections.abc import Iterator

import pytest
from tests.chart.charts import Helm

from servers.envtest import Envtest
from servers.kubernetes_build import find
from servers.need import require


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Helm, without a cluster."""
    require("helm")
    program = find("helm")
    assert program is not None
    return Helm(program, tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="session")
def cluster() -> Iterator[Envtest]:
    """An API server that has nothing of Laneway but what a test of this folder installs."""
    require("kubernetes")
    with Envtest() as server:
        yield server


@pytest.fixture
def helm_here(helm: Helm, cluster: Envtest) -> Iterator[Helm]:
    """Helm on the API server of this folder; what the test leaves installed there goes after it, CRDs too."""
    here = helm.on(cluster.kubeconfig)
    yield here
    for release in json.loads(here.must("list", "--all-namespaces", "--all", "--output", "json")):
        here.must("uninstall", release["name"], "--namespace", release["namespace"])
    crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    for crd in cluster.admin.request("GET", crds)["items"]:
        cluster.admin.request("DELETE", f"{crds}/{crd['metadata']['name']}")
    # They end in the background, their objects first.
    while cluster.admin.request("GET", crds)["items"]:
        pass
