"""The tests' hand inside the cluster: a pod runs this, and the tests talk to it by `kubectl exec`.

Lines of JSON: a request is {"n": number, "queue": name, "do": method of WatchedQueue, ...arguments}, its answer
{"n": number, "ok": ...} or {"n": number, "error": text}. `{"do": "watch", "queue": name, "kafka": bootstrap, "key": API
key}` comes first. It ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

from watched_queue import WatchedQueue


class Agent:
    """Answers each request as soon as it can, however many wait."""

    def __init__(self) -> None:
        self._queues: dict[str, WatchedQueue] = {}
        self._running: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until standard input ends."""
        print(json.dumps({"n": 0, "ok": {}}), flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            task = asyncio.create_task(self._answer(json.loads(line)))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _answer(self, request: dict[str, Any]) -> None:
        number = request.pop("n")
        try:
            answer = {"n": number, "ok": await self._do(request.pop("do"), request.pop("queue"), request)}
        except Exception as error:
            answer = {"n": number, "error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)

    async def _do(self, what: str, queue: str, arguments: dict[str, Any]) -> Any:
        if what == "watch":
            namespace, redis = os.environ["LANEWAY_NAMESPACE"], os.environ["LANEWAY_REDIS_URL"]
            self._queues[queue] = WatchedQueue(queue, namespace, redis, arguments["kafka"], arguments["key"])
            return {}
        return await getattr(self._queues[queue], what)(**arguments)


if __name__ == "__main__":
    asyncio.run(Agent().run())
