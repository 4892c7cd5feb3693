"""`spec.source` of a queue that runs is changed: its poller's pod stays, and does what the new source needs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.operator.limiter import Limiter
from tests.operator.running import World, until

from laneway.roles.supervisor import RECYCLE_EXIT
from servers.kafka import KafkaServer
from servers.redis import RedisServer

_APP = """
from laneway import App
app = App("switched")

@app.task(name="charge")
def charge() -> int:
    return 1
"""

Start = Callable[[str, str], subprocess.Popen[bytes]]


@pytest.fixture
def start(world: World, tmp_path: Path) -> Iterator[Start]:
    """Starts what a Deployment's container would run, with that container's plain environment."""
    (tmp_path / "switched.py").write_text(_APP)
    made: list[subprocess.Popen[bytes]] = []

    def run(deployment: str, role: str) -> subprocess.Popen[bytes]:
        container = world.get("Deployment", deployment)["spec"]["template"]["spec"]["containers"][0]
        env = {one["name"]: one["value"] for one in container["env"] if "value" in one}
        path = os.pathsep.join((os.environ.get("PYTHONPATH", ""), str(tmp_path)))
        log = tmp_path / f"{role}-{len(made)}.log"
        with log.open("wb") as out:
            made.append(
                subprocess.Popen(
                    [sys.executable, "-m", "laneway", role],
                    env={
                        **os.environ, **env, "PYTHONPATH": path, "LANEWAY_METRICS_PORT": "0",
                        "LANEWAY_WORKER_NAME": f"w{len(made)}",
                    },
                    stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, cwd=tmp_path,
                )
            )  # fmt: skip
        return made[-1]

    yield run
    for process in made:
        process.terminate()
    for process in made:
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def test_a_queue_goes_from_direct_to_kafka_and_back_with_the_same_poller(
    world: World, redis7: RedisServer, kafka: KafkaServer, start: Start
) -> None:
    redis7.ensure()
    name = "swi"
    limiter = Limiter(redis7.url, world.namespace, name)
    world.create("TaskQueue", name, {
        "redis": {"url": redis7.url}, "kafka": {"bootstrapServers": [kafka.bootstrap], "partitions": 2},
        "source": "Direct",
    })  # fmt: skip
    world.create("WorkerPool", name, {"queueRef": {"name": name}, "app": "switched:app"})
    world.run_queue(name)
    template = world.get("Deployment", f"laneway-{name}-poller")["spec"]["template"]
    poller = start(f"laneway-{name}-poller", "poller")

    def succeeded(count: int) -> None:
        until(f"{count} tasks have succeeded", lambda: limiter.counts()["succeeded"] == count, timeout=40)

    world.patch("TaskQueue", name, {"spec": {"source": "Kafka"}})
    until("it is in force", lambda: (config := limiter.config()) is not None and config.source == "kafka")
    until("workers are given brokers", lambda: any(
        one["name"] == "LANEWAY_KAFKA" for one in world.applied("Deployment", f"laneway-{name}-worker")
        ["spec"]["template"]["spec"]["containers"][0]["env"]
    ))  # fmt: skip
    worker = start(f"laneway-{name}-worker", "worker")
    for _ in range(5):
        limiter.submit()
    succeeded(5)

    world.patch("TaskQueue", name, {"spec": {"source": "Direct"}})
    assert worker.wait(40) == RECYCLE_EXIT  # so that its kubelet starts it again
    start(f"laneway-{name}-worker", "worker")
    for _ in range(5):
        limiter.submit()
    succeeded(10)
    assert poller.poll() is None
    assert world.get("Deployment", f"laneway-{name}-poller")["spec"]["template"] == template
