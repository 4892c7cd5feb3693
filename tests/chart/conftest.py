"""The chart by the real Helm, and an API server of its own to install it on.

That server is not the one of other tests: custom resource definitions are the whole cluster's, and here they come
and go.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tests.chart.charts import Helm

from servers.envtest import Envtest
from servers.kubernetes_build import find
from servers.need import require

_AUDIT = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata", "userGroups": ["system:serviceaccounts"]}],
}


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Helm, without a cluster."""
    require("helm")
    program = find("helm")
    assert program is not None
    return Helm(program, tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="session")
def audit_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the API server of this folder notes each request of a ServiceAccount, one JSON object a line."""
    return tmp_path_factory.mktemp("audit") / "audit.log"


@pytest.fixture(scope="session")
def cluster(audit_log: Path) -> Iterator[Envtest]:
    """An API server that has nothing of Laneway but what a test of this folder installs."""
    require("kubernetes")
    policy = audit_log.with_name("policy.yaml")
    policy.write_text(yaml.safe_dump(_AUDIT))
    extra = [f"--audit-policy-file={policy}", f"--audit-log-path={audit_log}"]
    with Envtest(extra=extra) as server:
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
        _take_finalizers_off(cluster, f"/apis/{crd['spec']['group']}/v1alpha1", crd["spec"]["names"]["plural"])
        status, said = cluster.admin.raw("DELETE", f"{crds}/{crd['metadata']['name']}")
        assert status in (200, 202, 404), said  # (404: it was on its way out already)
    # They end in the background, their objects first.
    deadline = time.monotonic() + 60
    while left := cluster.admin.request("GET", crds)["items"]:
        assert time.monotonic() < deadline, [(crd["metadata"]["name"], crd["status"]["conditions"]) for crd in left]


def _take_finalizers_off(cluster: Envtest, group: str, plural: str) -> None:
    """No operator runs any more that would."""
    patch = {"metadata": {"finalizers": None}}
    status, text = cluster.admin.raw("GET", f"{group}/{plural}")
    for item in json.loads(text)["items"] if status == 200 else ():  # (a definition on its way out serves none)
        path = f"{group}/namespaces/{item['metadata']['namespace']}/{plural}/{item['metadata']['name']}"
        cluster.admin.request("PATCH", path, patch, content="application/merge-patch+json")
