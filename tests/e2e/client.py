"""The tests' end of the agent that runs in a pod (inside/agent.py)."""

from __future__ import annotations

import itertools
import json
import queue
import subprocess
import threading
from typing import Any

_READY_S = 30.0
#: Beside the time that the agent itself gives to what it does.
_MARGIN_S = 10.0


class AgentFailed(AssertionError):
    """The agent says that something did not happen, or has ended."""


class Client:
    """Talks to the agent in one pod. `call` may be used by several threads at once."""

    def __init__(self, namespace: str, pod: str) -> None:
        self._process = subprocess.Popen(
            ["kubectl", "-n", namespace, "exec", "-i", pod, "--", "python3", "-u", "/app/agent.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._numbers = itertools.count(1)
        self._answers: dict[int, queue.SimpleQueue[dict[str, Any] | None]] = {0: queue.SimpleQueue()}
        self._lock = threading.Lock()
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._take(0, _READY_S)

    def call(self, queue_name: str, do: str, *, wait: float = 30.0, **arguments: Any) -> dict[str, Any]:
        """What the agent answers; it is given `wait` seconds. Raises AgentFailed."""
        return self.finish(self.begin(queue_name, do, **arguments), wait)

    def begin(self, queue_name: str, do: str, **arguments: Any) -> int:
        """Asks, and does not wait: `finish` takes the answer by the number."""
        number = next(self._numbers)
        with self._lock:
            if self._ended:
                raise AgentFailed(f"the agent has ended: {self._said()}")
            self._answers[number] = queue.SimpleQueue()
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps({"n": number, "do": do, "queue": queue_name, **arguments}) + "\n")
            self._process.stdin.flush()
        return number

    def finish(self, number: int, wait: float) -> dict[str, Any]:
        """The answer to what was begun. Raises AgentFailed."""
        return self._take(number, wait + _MARGIN_S)

    def close(self) -> None:
        """Ends the agent."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
            self._process.wait(5)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        self._reader.join(5)
        for pipe in (self._process.stdout, self._process.stderr):
            assert pipe is not None
            pipe.close()

    def _take(self, number: int, timeout: float) -> dict[str, Any]:
        try:
            answer = self._answers[number].get(timeout=timeout)
        except queue.Empty:
            raise AgentFailed(f"no answer from the agent within {timeout:g} s") from None
        finally:
            del self._answers[number]
        if answer is None:
            raise AgentFailed(f"the agent has ended: {self._said()}")
        if "error" in answer:
            raise AgentFailed(answer["error"])
        found: dict[str, Any] = answer["ok"]
        return found

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            answer = json.loads(line)
            if answer["n"] in self._answers:
                self._answers[answer["n"]].put(answer)
        with self._lock:
            self._ended = True
            for waiting in self._answers.values():
                waiting.put(None)

    def _said(self) -> str:
        assert self._process.stderr is not None
        return self._process.stderr.read()[-2000:] if self._process.poll() is not None else "it closed its output"
