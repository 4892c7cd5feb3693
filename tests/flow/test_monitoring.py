"""What the dashboards and alerts ask, asked of a real Prometheus that scrapes a real system under load."""

from __future__ import annotations

import asyncio
import math
import re
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import httpx
import pytest
import yaml
from click.testing import CliRunner
from prometheus_client import CollectorRegistry, make_wsgi_app
from tests.flow.conftest import SHORT, NewFlow
from tests.flow.harness import Flow, lanes, until

from laneway.cli.main import main
from laneway_operator.adapter.metrics import AdapterMetrics
from laneway_operator.engine.metrics import OperatorMetrics
from monitoring.alerts import ALERTS, FILES, GROUPS
from monitoring.dashboards import DASHBOARDS
from servers.need import require
from servers.prometheus import PrometheusServer, promtool
from servers.redis import RedisServer

ROOT = Path(__file__).parents[2]
RULES = [ROOT / "charts" / "laneway" / "rules" / f"{name}.yaml" for name in FILES]
#: A metric with its matchers, as it stands in an expression.
_SELECTOR = re.compile(r"\b((?:laneway_|[a-z_]+:laneway_)[a-z0-9_:]+)(\{[^}]*\})?")
_ENOUGH_S = 45.0


def operator_metrics() -> OperatorMetrics:
    """The metrics of an operator that has worked a little."""
    metrics = OperatorMetrics()
    metrics.watch_queue(lambda: 2.0, lambda: 0.5)
    for kind in ("TaskQueue", "WorkerPool"):
        metrics.count_pass(kind, "done", 0.02)
        metrics.count_pass(kind, "failed", 0.2)
        metrics.objects.labels(kind).set(3)
    metrics.count_request("patch", "workerpools", 200)
    metrics.kafka_requests.labels("topics", "ok").inc()
    metrics.redis_requests.labels("configure", "ok").inc()
    metrics.events.labels("written").inc()
    metrics.leader.set(1)
    metrics.leader_epoch.set(4)
    metrics.writes_refused.set(0)
    for gauge in (metrics.pool_desired, metrics.pool_ready, metrics.pool_load, metrics.pool_shadow):
        gauge.labels("default", "mailers").set(2)
    return metrics


def adapter_metrics() -> AdapterMetrics:
    """The metrics of a metrics adapter that has answered a little."""
    metrics = AdapterMetrics()
    metrics.count(200)
    metrics.count_request("create", "subjectaccessreviews", 201)
    metrics.conflict.set(0)
    metrics.expires.set(time.time() + 30 * 86_400)
    return metrics


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


@contextmanager
def served(registry: CollectorRegistry) -> Iterator[int]:
    """A registry on a port of loopback."""
    server = make_server("127.0.0.1", 0, make_wsgi_app(registry), handler_class=_Quiet)  # type: ignore[arg-type]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def operator() -> Iterator[tuple[OperatorMetrics, int]]:
    """An operator's registry, served on a port."""
    metrics = operator_metrics()
    with served(metrics.registry) as port:
        yield metrics, port


@pytest.fixture
def adapter() -> Iterator[int]:
    """The port of a metrics adapter's registry."""
    with served(adapter_metrics().registry) as port:
        yield port


class System:
    """A queue with gateway, poller and two worker processes, all of which serve metrics, and a gateway that asks for
    credentials."""

    def __init__(self, flow: Flow, redis: RedisServer) -> None:
        self.flow, self.redis = flow, redis

    async def start(self) -> None:
        """Starts all of it."""
        keys, auth = self.flow.folder / "keys.yaml", self.flow.folder / "auth.yaml"
        made = CliRunner().invoke(main, ["keys", "create", "-f", str(keys), "--name", "viewer", "--role", "viewer"])
        assert made.exit_code == 0, made.output
        self.key = made.stdout.strip()
        auth.write_text(yaml.safe_dump({"keys": {"path": str(keys)}, "audit": {"file": str(auth) + ".log"}}))
        self.gateway, self.guarded, self.poller, self.worker = await asyncio.gather(
            self.flow.gateway(),
            self.flow.gateway(auth=auth),
            self.flow.poller(metrics=True),
            self.flow.worker(metrics=True, processes=2),
        )
        self.base = f"http://127.0.0.1:{self.gateway.port}/api/v1/queues/{self.flow.queue}"

    @asynccontextmanager
    async def load(self) -> AsyncIterator[None]:
        """Some of everything that happens to tasks, over and over, while this is entered."""
        async with httpx.AsyncClient(timeout=10.0) as http:
            tasks = [
                asyncio.create_task(work) for work in (self._work(http), self._listen(http, 10), self._listen(http))
            ]
            try:
                yield
                for task in tasks:
                    assert not task.done(), task.exception()
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _listen(self, http: httpx.AsyncClient, most: int = 1_000_000) -> None:
        """Listens to events, again after so many lines of a stream: what was sent is counted at its end."""
        while True:
            async with http.stream("GET", f"{self.base}/events", params={"stats": "0"}) as stream:
                assert stream.status_code in (200, 503), (await stream.aread()).decode()
                seen = 0
                async for _ in stream.aiter_lines():
                    seen += 1
                    if seen >= most:
                        break
            await asyncio.sleep(0.1)

    async def _work(self, http: httpx.AsyncClient) -> None:
        for n in range(1_000_000):
            for body in (
                {"type": "work", "lane": "high"},
                {"type": "work", "lane": "low", "payload": {"ms": 20}},
                {"type": "flaky", "lane": "low"},
                {"type": "failing", "lane": "low"},
                {"type": "work", "lane": "low", "delay": 0.5},
                {"type": "work", "lane": "none"},
            ):
                await http.post(f"{self.base}/tasks", json=body)
            for _ in range(2):
                await http.post(f"{self.base}/tasks", json={"type": "work"}, headers={"Idempotency-Key": f"k{n}"})
            guarded = f"http://127.0.0.1:{self.guarded.port}/api/v1/queues/{self.flow.queue}"
            known = {"Authorization": f"Bearer {self.key}"}
            assert (await http.get(f"{guarded}/stats")).status_code == 401
            assert (await http.get(f"{guarded}/stats", headers=known)).status_code in (200, 503)
            assert (await http.post(f"{guarded}/tasks", headers=known, json={"type": "work"})).status_code == 403
            await asyncio.sleep(0.05)

    async def fail_requests(self) -> None:
        """Stops Redis until the gateway has answered with 503."""
        async with httpx.AsyncClient(timeout=10.0) as http:

            async def refused() -> bool:
                answer = await http.post(f"{self.base}/tasks", json={"type": "work"})
                return answer.status_code == 503

            self.redis.pause()
            try:
                await until("the gateway answers with 503", refused, 20.0)
            finally:
                self.redis.resume()

    def scraped(self) -> dict[str, list[str]]:
        """Where the metrics are, by job."""
        members = {"gateway": (self.gateway, self.guarded), "poller": (self.poller,), "worker": (self.worker,)}
        return {name: [f"127.0.0.1:{member.port}" for member in of] for name, of in members.items()}

    async def metrics(self, port: int) -> str:
        """What a process shows."""
        async with httpx.AsyncClient(timeout=5.0) as http:
            return (await http.get(f"http://127.0.0.1:{port}/metrics")).raise_for_status().text


@pytest.fixture
async def system(new_redis: Callable[..., RedisServer], new_flow: NewFlow) -> System:
    """A running system on a Redis of its own."""
    require("prometheus")
    redis = new_redis()
    flow = new_flow(redis.url)
    await flow.configure(**SHORT, lanes=lanes("high", "low"), default_lane="low")
    system = System(flow, redis)
    await system.start()
    return system


def panel_queries() -> dict[str, str]:
    """Every panel's query by where it stands, with its variables filled in."""
    values = {"$namespace": ".*", "$queue": ".*", "$lane": ".*", "$__rate_interval": "10s"}
    out = {}
    for dashboard in DASHBOARDS:
        for row in dashboard.rows:
            for panel in row.panels:
                for i, (expression, _) in enumerate(panel.queries):
                    for name, value in values.items():
                        expression = expression.replace(name, value)
                    out[f"{dashboard.title} / {row.title} / {panel.title} / {i}"] = expression
        for variable in dashboard.variables:
            if variable.name != "namespace":  # (a label that only Kubernetes gives)
                metric = re.sub(r"\$\w+", ".*", variable.metric)
                out[f"{dashboard.title} / ${variable.name}"] = f"count by ({variable.label}) ({metric})"
    return out


def alert_selectors() -> dict[str, str]:
    """Every selector of every rule: ``absent`` apart, an expression without series never fires."""
    return {
        f"{name} / {found[0]}": found[0]
        for group in GROUPS
        for name, expression in [
            *((each.record, each.expr) for each in group.recorded),
            *((alert.name, alert.expr) for alert in group.alerts),
        ]
        for found in _SELECTOR.finditer(expression)
    }


async def test_every_panel_and_alert_gets_data_from_a_running_system(
    system: System, operator: tuple[OperatorMetrics, int], adapter: int
) -> None:
    metrics, port = operator
    targets = {**system.scraped(), "operator": [f"127.0.0.1:{port}"], "adapter": [f"127.0.0.1:{adapter}"]}
    labels = {name: {"namespace": "laneway-system"} for name in ("operator", "adapter")}
    with PrometheusServer(targets, rules=RULES, labels=labels) as prometheus:
        async with system.load():
            await system.fail_requests()
            left = {**panel_queries(), **alert_selectors()}
            assert len(left) > 100
            deadline = time.monotonic() + _ENOUGH_S
            while left:
                metrics.count_pass("TaskQueue", "done", 0.02)  # (so that its rates are of something)
                for name, expression in list(left.items()):
                    found = await asyncio.to_thread(prometheus.query, expression)
                    if any(not math.isnan(float(series["value"][1])) for series in found):
                        del left[name]
                assert not left or time.monotonic() < deadline, f"no data for {len(left)}: {left}"
                await asyncio.sleep(0.5)

        async def evaluated() -> bool:
            groups = (await asyncio.to_thread(prometheus.get, "rules"))["groups"]
            rules = [rule for group in groups for rule in group["rules"]]
            assert not [rule for rule in rules if rule["health"] == "err"], rules
            return {rule["name"] for rule in rules if rule["health"] == "ok"} >= {alert.name for alert in ALERTS}

        await until("every rule has been evaluated", evaluated, 20.0)


async def test_promtool_finds_nothing_wrong_with_the_metrics_of_any_role(
    system: System, operator: tuple[OperatorMetrics, int], adapter: int
) -> None:
    async with system.load():
        ports = {"gateway": system.gateway.port, "poller": system.poller.port, "worker": system.worker.port}
        ports |= {"guarded": system.guarded.port, "operator": operator[1], "adapter": adapter}
        wanted = {"gateway": "laneway_tasks_submitted_total", "poller": "laneway_events_relayed_total"}
        wanted |= {"worker": "laneway_tasks_dead_total", "guarded": "laneway_auth_requests_total"}
        wanted |= {"operator": "laneway_operator_leader", "adapter": "laneway_adapter_requests_total"}
        for role, port in ports.items():

            async def has_all(role: str = role, port: int = port) -> str:
                text = await system.metrics(port)
                return text if f"\n{wanted[role]}" in text else ""

            text = await until(f"{role} has counted something", has_all, 20.0)
            said = promtool("check", "metrics", stdin=text)
            assert (said.returncode, said.stdout, said.stderr) == (0, "", ""), role
