"""The adapter behind a real API server: who is answered, with what, and who owns the APIService."""

from __future__ import annotations

import asyncio
import base64
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.operator.objects import Objects, pool, queue

from laneway.adapters.redis import RedisStore
from laneway.kit.ids import new_task_id
from laneway.model.config import QueueConfig
from laneway.model.envelope import Body, Envelope, encode_envelope
from laneway.roles.process import Stop
from laneway_operator.adapter.authority import Lifetimes
from laneway_operator.adapter.process import Adapter
from laneway_operator.adapter.settings import AdapterSettings
from laneway_operator.permissions import ADAPTER_ROLE, needed
from laneway_operator.resources.autoscaler import autoscaler
from laneway_operator.resources.parts import worker_part
from laneway_operator.settings import OperatorSettings
from servers.certificates import Authority
from servers.envtest import Envtest
from servers.kube_client import KubeClient, KubeError
from servers.need import require
from servers.ports import free_port
from servers.process import ServerProcess
from servers.redis import RedisServer

pytestmark = [
    pytest.mark.asyncio,
    # The API server dials an adapter again and again: what has not yet shaken hands when the test's loop is closed
    # belongs to no connection that the adapter could end (in a process of its own, it ends with that).
    pytest.mark.filterwarnings("ignore:unclosed <socket.socket:ResourceWarning"),
]

APISERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
APISERVICE = f"{APISERVICES}/v1beta1.external.metrics.k8s.io"
GROUP = "/apis/external.metrics.k8s.io/v1beta1"


async def within(seconds: float, check: Callable[[], Any]) -> Any:
    """What ``check`` gives once it gives something (in a thread, since the adapter has this event loop)."""
    last: Exception | None = None
    try:
        async with asyncio.timeout(seconds):
            while True:
                try:
                    if found := await asyncio.to_thread(check):
                        return found
                except (KubeError, AssertionError) as error:
                    last = error
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"not within {seconds} s; last: {last}") from last


class Ground:
    """An adapter of a namespace, and a queue with a Redis."""

    def __init__(self, envtest: Envtest, objects: Objects, redis_url: str) -> None:
        self.envtest, self.objects, self.redis_url = envtest, objects, redis_url
        self.admin = envtest.admin
        self.namespace = objects.namespace
        self.port = free_port()
        self._running: list[tuple[Stop, asyncio.Task[int]]] = []

    def make(self, *, every: float = 0.2, **options: Any) -> Adapter:
        kubeconfig = options.pop("kubeconfig", self.envtest.kubeconfig)
        operator = OperatorSettings(kubeconfig=str(kubeconfig), identity="test", host="127.0.0.1", port=0)
        settings = AdapterSettings(
            operator=operator,
            namespace=self.namespace,
            adapter_host="127.0.0.1",
            adapter_port=options.pop("port", self.port),
            service_port=self.port,
            owner=options.pop("owner", ""),
        )
        return Adapter(settings, every=every, **options)

    async def start(self, adapter: Adapter) -> Adapter:
        stop = Stop()
        task = asyncio.create_task(adapter.run(stop))
        self._running.append((stop, task))
        waits = [asyncio.create_task(adapter.serving.wait()), task]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED, timeout=20)
        assert adapter.serving.is_set(), task
        return adapter

    async def stop(self) -> None:
        for stop, task in self._running:
            stop.set()
            assert await task == 0
        self._running.clear()

    async def make_queue(self, tasks: int, **scaling: Any) -> None:
        self.objects.create(queue("q", redis={"url": self.redis_url}))
        self.objects.create(
            pool("p", scaling={"min": 1, "max": 8, "target": {"tasksPerReplica": 10}, **scaling}, concurrency=4)
        )
        store = RedisStore(self.redis_url, "q", namespace=self.namespace)
        try:
            await store.configure(QueueConfig(), {}, expected=None)
            await submit(store, tasks)
        finally:
            await store.close()

    def values(self, selector: str = "labelSelector=pool%3Dp", client: KubeClient | None = None) -> Any:
        path = f"{GROUP}/namespaces/{self.namespace}/laneway_pool_load?{selector}"
        return (client or self.admin).request("GET", path)

    @staticmethod
    def ready(adapter: Adapter) -> Callable[[], Any]:
        return lambda: adapter.health.ready().ok


async def submit(store: RedisStore, n: int) -> None:
    envelope = encode_envelope(Envelope(1, 4, 3, "", Body("t", b"\x80")))
    await store.submit([(new_task_id(), envelope) for _ in range(n)])


@pytest.fixture
async def ground(envtest: Envtest, objects: Objects, redis7_url: str) -> AsyncIterator[Ground]:
    ground = Ground(envtest, objects, redis7_url)
    spec = {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": ground.port}]}
    service = {"metadata": {"name": "laneway-adapter"}, "spec": spec}
    ground.admin.request("POST", f"/api/v1/namespaces/{ground.namespace}/services", service)
    yield ground
    await ground.stop()
    ground.admin.raw("DELETE", APISERVICE)


async def test_a_pools_load_is_read_through_the_api_server(ground: Ground) -> None:
    await ground.make_queue(35)
    await ground.start(ground.make())
    answer = await within(20, ground.values)
    assert answer["kind"] == "ExternalMetricValueList"
    (item,) = answer["items"]
    assert (item["metricName"], item["value"]) == ("laneway_pool_load", "3500m")
    assert item["metricLabels"] == {"pool": "p", "queue": "q"}
    listed = await asyncio.to_thread(ground.admin.request, "GET", GROUP)
    assert [resource["name"] for resource in listed["resources"]] == ["laneway_pool_load"]


async def test_it_works_with_just_the_rights_that_the_table_lists(ground: Ground) -> None:
    await ground.make_queue(35)
    who = f"adapter-of-{ground.namespace}"
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    rules = [
        {"apiGroups": [one.group], "resources": [one.resource], "verbs": list(one.verbs)}
        | ({"resourceNames": [who if one.name == ADAPTER_ROLE else one.name]} if one.name else {})
        for one in needed(adapter=True)
    ]
    ground.admin.request("POST", f"{rbac}/clusterroles", {"metadata": {"name": who}, "rules": rules})
    subjects = [{"kind": "User", "name": who, "apiGroup": "rbac.authorization.k8s.io"}]
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": who}
    ground.admin.request(
        "POST", f"{rbac}/clusterrolebindings", {"metadata": {"name": who}, "roleRef": role, "subjects": subjects}
    )
    reader = {**role, "kind": "Role", "name": "extension-apiserver-authentication-reader"}
    ground.admin.request(
        "POST",
        f"{rbac}/namespaces/kube-system/rolebindings",
        {"metadata": {"name": who}, "roleRef": reader, "subjects": subjects},
    )
    adapter = await ground.start(ground.make(owner=who, kubeconfig=ground.envtest.user_kubeconfig(who)))
    await within(20, ground.ready(adapter))
    assert await within(20, ground.values)
    assert ground.admin.request("GET", APISERVICE)["metadata"]["ownerReferences"][0]["name"] == who


async def test_it_is_ready_when_it_is_registered_and_available_to_all(ground: Ground) -> None:
    adapter = await ground.start(ground.make())
    await within(20, ground.ready(adapter))

    def available() -> bool:
        conditions = ground.admin.request("GET", APISERVICE)["status"].get("conditions", [])
        return any(c["type"] == "Available" and c["status"] == "True" for c in conditions)

    await within(30, available)


async def test_what_cannot_be_read_is_an_error_and_never_0(
    ground: Ground, new_redis: Callable[..., RedisServer]
) -> None:
    server = new_redis()
    ground.redis_url = server.url
    await ground.make_queue(35)
    await ground.start(ground.make())
    assert await within(20, ground.values)
    server.kill()

    def refused() -> KubeError | None:
        try:
            ground.values()
        except KubeError as error:
            return error
        return None

    error = await within(10, refused)
    assert error.status == 503 and "Redis is away" in error.message


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("namespaces/{ns}/other", 404, "there is laneway_pool_load"),
        ("namespaces/{ns}/laneway_pool_load?labelSelector=pool%3Dmissing", 404, "no WorkerPool with spec.scaling"),
        ("namespaces/{ns}/laneway_pool_load?labelSelector=%3D", 400, "pool=NAME"),
    ],
)
async def test_a_wrong_question_gets_what_would_be_right(ground: Ground, path: str, status: int, says: str) -> None:
    await ground.make_queue(1)
    await ground.start(ground.make())
    assert await within(20, ground.values)
    with pytest.raises(KubeError, match=says) as refused:
        await asyncio.to_thread(ground.admin.request, "GET", f"{GROUP}/{path.format(ns=ground.namespace)}")
    assert refused.value.status == status


async def test_a_user_without_the_right_is_refused_and_with_it_answered(ground: Ground) -> None:
    await ground.make_queue(10)
    await ground.start(ground.make())
    assert await within(20, ground.values)
    jane = KubeClient(ground.envtest.user_kubeconfig("jane"))
    with pytest.raises(KubeError) as refused:
        await asyncio.to_thread(ground.values, client=jane)
    assert refused.value.status == 403


async def test_only_the_front_proxy_is_answered(ground: Ground, tmp_path: Path) -> None:
    await ground.make_queue(10)
    adapter = await ground.start(ground.make())
    await within(20, ground.values)
    url = f"https://127.0.0.1:{adapter.port}{GROUP}/namespaces/{ground.namespace}/laneway_pool_load"
    headers = {"X-Remote-User": "admin", "X-Remote-Group": "system:masters"}

    async def ask(tls: ssl.SSLContext) -> int:
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        async with aiohttp.ClientSession() as session, session.get(url, headers=headers, ssl=tls) as answer:
            await answer.read()
            return answer.status

    assert await ask(ssl.create_default_context()) == 401
    foreign = Authority(tmp_path, "front-proxy-ca").issue("front-proxy")
    with_foreign = ssl.create_default_context()
    with_foreign.load_cert_chain(foreign.cert, foreign.key)
    with pytest.raises(aiohttp.ClientError):
        await ask(with_foreign)
    pki = ground.envtest.dir / "pki"
    genuine = ssl.create_default_context()
    genuine.load_cert_chain(pki / "front-proxy.crt", pki / "front-proxy.key")
    assert await ask(genuine) == 200


async def test_the_apiservice_of_another_adapter_is_left_alone_and_told(ground: Ground) -> None:
    spec = {
        "group": "external.metrics.k8s.io",
        "version": "v1beta1",
        "groupPriorityMinimum": 100,
        "versionPriority": 100,
        "insecureSkipTLSVerify": True,
        "service": {"name": "keda-operator-metrics-apiserver", "namespace": "keda"},
    }
    theirs = {"metadata": {"name": "v1beta1.external.metrics.k8s.io"}, "spec": spec}
    before = ground.admin.request("POST", APISERVICES, theirs)
    adapter = await ground.start(ground.make())

    def told() -> Any:
        path = f"/api/v1/namespaces/{ground.namespace}/events"
        return [e for e in ground.admin.request("GET", path)["items"] if e["reason"] == "MetricsAPIConflict"]

    (event,) = await within(20, told)
    assert "keda/keda-operator-metrics-apiserver" in event["message"]
    ready = adapter.health.ready()
    assert not ready.ok and any("MetricsAPIConflict" in reason for reason in ready.reasons)
    assert adapter.metrics.registry.get_sample_value("laneway_adapter_metrics_api_conflict") == 1
    assert ground.admin.request("GET", APISERVICE)["spec"] == before["spec"]
    ground.admin.request("DELETE", APISERVICE)
    await within(20, ground.ready(adapter))
    assert adapter.metrics.registry.get_sample_value("laneway_adapter_metrics_api_conflict") == 0


async def test_two_replicas_serve_by_the_same_certificates(ground: Ground) -> None:
    one, two = ground.make(), ground.make(port=free_port())
    await asyncio.gather(ground.start(one), ground.start(two))
    for adapter in (one, two):
        await within(20, ground.ready(adapter))
    secret = ground.admin.request("GET", f"/api/v1/namespaces/{ground.namespace}/secrets/laneway-adapter-tls")
    served = [await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", one.port)) for one in (one, two)]
    assert served[0] == served[1]
    assert served[0].strip().encode() == base64.b64decode(secret["data"]["tls.crt"]).strip()


async def test_certificates_are_rotated_while_it_serves(ground: Ground) -> None:
    await ground.make_queue(10)
    brief = Lifetimes(ca=timedelta(seconds=9), cert=timedelta(seconds=6), settle=timedelta(seconds=1))
    adapter = await ground.start(ground.make(lifetimes=brief, every=0.1))
    await within(20, ground.values)
    first_bundle = ground.admin.request("GET", APISERVICE)["spec"]["caBundle"]
    first = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", adapter.port))

    def by_another_authority() -> bool:
        return ground.admin.request("GET", APISERVICE)["spec"]["caBundle"] != first_bundle

    await within(20, by_another_authority)

    def another() -> bool:
        return ssl.get_server_certificate(("127.0.0.1", adapter.port)) != first

    await within(20, another)
    assert (await within(20, ground.values))["items"]


async def test_secrets_that_hold_nonsense_are_made_anew(ground: Ground) -> None:
    path = f"/api/v1/namespaces/{ground.namespace}/secrets"
    ground.admin.request("POST", path, {"metadata": {"name": "laneway-adapter-tls"}, "data": {"tls.crt": "bm9uZQ=="}})
    adapter = await ground.start(ground.make())
    await within(20, ground.ready(adapter))


async def test_the_apiservice_goes_with_the_installation(ground: Ground) -> None:
    roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
    name = f"{ground.namespace}-adapter"
    role = ground.admin.request("POST", roles, {"metadata": {"name": name}, "rules": []})
    adapter = await ground.start(ground.make(owner=name))
    await within(20, ground.ready(adapter))
    (owner,) = ground.admin.request("GET", APISERVICE)["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("ClusterRole", name, role["metadata"]["uid"])


async def test_the_command_serves_until_it_is_asked_to_stop(ground: Ground, tmp_path: Path) -> None:
    await ground.make_queue(20)
    health = free_port()
    argv = [sys.executable, "-m", "laneway_operator", "adapter", "--kubeconfig", str(ground.envtest.kubeconfig)]
    argv += ["--lease-namespace", ground.namespace, "--adapter-host", "127.0.0.1", "--adapter-port", str(ground.port)]
    argv += ["--service-port", str(ground.port), "--host", "127.0.0.1", "--port", str(health)]
    log = tmp_path / "adapter.log"
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(*argv, stdout=out, stderr=out)
    try:
        answer = await within(40, ground.values)
        assert answer["items"][0]["value"] == "2000m"
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{health}/metrics") as metrics:
                assert 'laneway_adapter_requests_total{code="200"}' in await metrics.text()
            async with session.get(f"http://127.0.0.1:{health}/healthz") as live:
                assert live.status == 200
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 20) == 0, log.read_text()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


# -- with the real HPA controller


@pytest.fixture
def hpa_controller(envtest: Envtest) -> Iterator[ServerProcess]:
    require("kubernetes_controllers")
    manager = envtest._manager(["horizontal-pod-autoscaler-controller"])
    manager.argv.append("--horizontal-pod-autoscaler-sync-period=1s")
    manager.start()
    yield manager
    manager.stop()


async def test_the_real_hpa_controller_scales_a_pool_by_its_load(ground: Ground, hpa_controller: ServerProcess) -> None:
    from laneway_operator.observe.manifests import read

    await ground.make_queue(35, controller="HorizontalPodAutoscaler", stabilization="2s")
    path = ground.objects.path("WorkerPool", "p")

    def carry_out() -> dict[str, Any]:
        """What the pass does: the pool has as many pods as it asks for."""
        live = ground.admin.request("GET", path)
        status = {"replicas": live["spec"]["replicas"], "selector": "laneway.dev/pool=p"}
        body = {"apiVersion": live["apiVersion"], "kind": "WorkerPool", "metadata": {"name": "p"}, "status": status}
        return ground.admin.apply(f"{path}/status", body)

    live = carry_out()
    hpa = autoscaler(read(_pool_model(), live), worker_part(live, "1"))
    hpas = f"/apis/autoscaling/v2/namespaces/{ground.namespace}/horizontalpodautoscalers"
    ground.admin.request("POST", f"{hpas}?fieldValidation=Strict", hpa)
    await ground.start(ground.make())
    await within(20, ground.values)
    await within(40, lambda: carry_out()["spec"]["replicas"] == 4)
    store = RedisStore(ground.redis_url, "q", namespace=ground.namespace)
    try:
        await submit(store, 900)
        await within(40, lambda: carry_out()["spec"]["replicas"] == 8)
        await store._client.flushall()
        # The queue can't be read: the size is kept, and the HPA says why.
        await within(40, lambda: _active(ground.admin.request("GET", f"{hpas}/laneway-p-worker")) == "False")
        assert carry_out()["spec"]["replicas"] == 8
        await store.configure(QueueConfig(), {}, expected=None)
        await within(40, lambda: carry_out()["spec"]["replicas"] == 1)
    finally:
        await store.close()


def _active(hpa: dict[str, Any]) -> str | None:
    conditions = hpa.get("status", {}).get("conditions") or []
    return next((c["status"] for c in conditions if c["type"] == "ScalingActive"), None)


def _pool_model() -> Any:
    from laneway.model.manifests import WorkerPool

    return WorkerPool
