"""The API server that the operator's tests run on behaves as a cluster's does."""

import base64
import json
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from servers.envtest import Envtest
from servers.kube_client import KubeClient, KubeError
from servers.kubernetes_build import KUBERNETES
from servers.need import require


def until_ok(client: KubeClient, path: str) -> str:
    """The answer, once the server gives one: it learns of roles and APIs from a watch, a moment later."""
    deadline = time.monotonic() + 20
    while True:
        status, text = client.raw("GET", path)
        if status == 200:
            return text
        assert time.monotonic() < deadline, text


def test_the_server_answers_with_the_version_it_was_built_from(kubernetes: Path) -> None:
    assert KubeClient(kubernetes).request("GET", "/version")["gitVersion"] == KUBERNETES


def test_each_test_has_a_namespace_of_its_own(envtest: Envtest, namespace: str) -> None:
    assert envtest.create_namespace() != namespace
    assert envtest.admin.request("GET", f"/api/v1/namespaces/{namespace}/configmaps")["items"] == []


def test_a_service_account_may_do_just_what_its_role_says(envtest: Envtest, namespace: str) -> None:
    account = KubeClient(envtest.service_account_kubeconfig(namespace, "operator"))
    configmaps = f"/api/v1/namespaces/{namespace}/configmaps"
    with pytest.raises(KubeError, match=rf"system:serviceaccount:{namespace}:operator.*cannot list"):
        account.request("GET", configmaps)

    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}
    envtest.admin.request("POST", f"{rbac}/roles", {"metadata": {"name": "reader"}, "rules": [rule]})
    binding = {
        "metadata": {"name": "reader"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
        "subjects": [{"kind": "ServiceAccount", "name": "operator", "namespace": namespace}],
    }
    envtest.admin.request("POST", f"{rbac}/rolebindings", binding)
    assert json.loads(until_ok(account, configmaps))["kind"] == "ConfigMapList"
    with pytest.raises(KubeError) as refused:
        account.request("POST", configmaps, {"metadata": {"name": "a"}})
    assert (refused.value.status, refused.value.reason) == (403, "Forbidden")


def test_a_user_of_a_client_certificate_has_its_name_and_groups(envtest: Envtest) -> None:
    ann = KubeClient(envtest.user_kubeconfig("ann@example.org", groups=["writers", "readers"]))
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    said = ann.request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", review)["status"]["userInfo"]
    assert said["username"] == "ann@example.org"
    assert set(said["groups"]) == {"writers", "readers", "system:authenticated"}


def test_no_credentials_are_refused(envtest: Envtest, tmp_path: Path) -> None:
    other = tmp_path / "nobody.kubeconfig"
    other.write_text(envtest.kubeconfig.read_text().replace("client-certificate-data", "x").replace("key-data", "y"))
    status, _text = KubeClient(other).raw("GET", "/api/v1/namespaces")
    assert status in (401, 403)


@pytest.fixture
def extension(envtest: Envtest, tmp_path: Path) -> Iterator[ThreadingHTTPServer]:
    """An HTTPS server that takes only the API server's front-proxy certificate, and says who asked."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body: dict[str, Any] = {"kind": "Asked", "path": self.path, "user": self.headers["X-Remote-User"]}
            text = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: object) -> None:
            pass

    pair = envtest.authority.issue("extension", hosts=["localhost", "extension.default.svc"])
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pair.cert, pair.key)
    tls.load_verify_locations(envtest.front_proxy_ca)
    tls.verify_mode = ssl.CERT_REQUIRED
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_aggregated_api_is_reached_by_its_front_proxy_certificate(
    envtest: Envtest, extension: ThreadingHTTPServer
) -> None:
    port = extension.server_address[1]
    spec = {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port}]}
    envtest.admin.request(
        "POST", "/api/v1/namespaces/default/services", {"metadata": {"name": "extension"}, "spec": spec}
    )
    registration = {
        "metadata": {"name": "v1.asked.example.org"},
        "spec": {
            "group": "asked.example.org",
            "version": "v1",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "service": {"name": "extension", "namespace": "default", "port": port},
            "caBundle": base64.b64encode(envtest.authority.cert.read_bytes()).decode(),
        },
    }
    path = "/apis/apiregistration.k8s.io/v1/apiservices"
    envtest.admin.request("POST", path, registration)
    try:
        answer = json.loads(until_ok(envtest.admin, "/apis/asked.example.org/v1/things"))
        assert answer == {"kind": "Asked", "path": "/apis/asked.example.org/v1/things", "user": "admin"}
    finally:
        envtest.admin.request("DELETE", f"{path}/v1.asked.example.org")
        envtest.admin.request("DELETE", "/api/v1/namespaces/default/services/extension")


def test_controllers_that_are_asked_for_collect_what_has_lost_its_owner() -> None:
    require("kubernetes_controllers")
    configmaps = "/api/v1/namespaces/default/configmaps"
    with Envtest(controllers=["garbage-collector-controller"]) as server:
        owner = server.admin.request("POST", configmaps, {"metadata": {"name": "owner"}})
        reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
        owned = {"metadata": {"name": "owned", "ownerReferences": [reference]}}
        server.admin.request("POST", configmaps, owned)
        server.admin.request("DELETE", f"{configmaps}/owner")
        # An answer of 200 for ever is ended by the test's own time-out.
        while server.admin.raw("GET", f"{configmaps}/owned")[0] == 200:
            assert server.manager is not None and server.manager.alive, server.manager
    assert not server.manager.alive


def test_a_restarted_server_keeps_its_objects_and_its_users(envtest: Envtest, namespace: str) -> None:
    account = KubeClient(envtest.service_account_kubeconfig(namespace, "operator"))
    envtest.restart()
    assert envtest.admin.request("GET", f"/api/v1/namespaces/{namespace}")["metadata"]["name"] == namespace
    status, _text = account.raw("GET", f"/api/v1/namespaces/{namespace}")
    assert status == 403
