"""The queues that the dashboard's tests look at, run by a real `laneway up`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import httpx

_MANIFESTS = Path(__file__).parent / "shop"
ENV = {name: value for name, value in os.environ.items() if not name.startswith("LANEWAY_")}
START_S = 60.0


class Shop:
    """Gateway, poller and worker as processes of their own, and the API to put tasks there and to ask after them."""

    def __init__(self, redis: str, folder: Path) -> None:
        self.redis = redis
        self.folder = folder
        self.url = ""
        self._log = folder / "up.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._gates = 0

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "laneway", "up", "-f", str(_MANIFESTS), "--redis", self.redis, "--port", "0"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, "--log-format", "json"], cwd=self.folder, env=ENV, stdout=log, stderr=log
            )
        try:
            until(lambda: "worker ready" in self._log.read_text() or self._over(), "a worker", START_S)
            url = json.loads((self.folder / ".laneway" / "up.json").read_text())["gateway"]
            self.client = httpx.Client(base_url=f"{url}/api/v1/queues", timeout=20)
            self.url = url
            until(self._answers, "the gateway", START_S)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        if self.url:
            self.client.close()
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGINT)  # a second one ends what still runs
            self._process.wait(30)

    def _over(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        return False

    def _answers(self) -> bool:
        try:
            return self.client.get("/shop/types").json()["items"] != []
        except (httpx.TransportError, KeyError):
            return False

    # -- tasks

    def submit(self, type: str, payload: dict[str, Any] | None = None, queue: str = "shop", **more: Any) -> str:
        """Puts a task there; its id."""
        answer = self.client.post(f"/{queue}/tasks", json={"type": type, "payload": payload or {}, **more})
        assert answer.status_code == 201, answer.text
        id: str = answer.json()["id"]
        return id

    def submit_many(self, tasks: list[dict[str, Any]], queue: str = "shop") -> list[str]:
        """Puts tasks there; their ids."""
        answer = self.client.post(f"/{queue}/tasks/batch", json=tasks)
        assert answer.status_code == 200, answer.text
        assert answer.json()["refused"] == 0, answer.text
        return [item["id"] for item in answer.json()["results"]]

    def task(self, id: str, queue: str = "shop") -> dict[str, Any]:
        """What the API says of a task."""
        found: dict[str, Any] = self.client.get(f"/{queue}/tasks/{id}").json()
        return found

    def state(self, id: str, queue: str = "shop") -> str:
        """A task's state."""
        return str(self.task(id, queue).get("state"))

    def until_state(self, id: str, state: str, queue: str = "shop") -> None:
        """Waits until a task is in this state."""
        until(lambda: self.state(id, queue) == state, f"task {id} to be {state}")

    def dead(self, count: int = 1, **more: Any) -> list[str]:
        """So many dead letters, which died at once of the same error."""
        tasks = [
            {"type": "send_mail", "payload": {"to": f"{n}@nobody.example"}, "maxAttempts": 1, **more}
            for n in range(count)
        ]
        ids = self.submit_many(tasks)
        for id in ids:
            self.until_state(id, "dead")
        return ids

    def clear_dead(self) -> None:
        """Purges every dead letter."""
        answer = self.client.post("/shop/dead/purge", json={"all": True})
        assert answer.status_code == 200, answer.text

    def gate(self) -> Path:
        """The path of a file that is not there yet; `wait_for` runs until it is."""
        self._gates += 1
        return self.folder / f"gate-{self._gates}"


def until(condition: Callable[[], bool], what: str, within: float = 20.0) -> None:
    """Waits until it is so; AssertionError when it is not in time."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.05)
