"""Submits tasks over HTTP to the Service of a queue's gateway, again and again until each is acknowledged."""

from __future__ import annotations

import asyncio
import http.client
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

from laneway.kit.ids import id_texts, new_task_ids

_TIMEOUT_S = 10.0
_PAGE = 250
_AGAIN_S = 0.1
#: What says that the same may be taken later, or that nobody knows whether it was taken.
_LATER = frozenset({429, 502, 503, 504})

Task = dict[str, Any]


class NotTaken(RuntimeError):
    """A submission was refused for good, or not acknowledged in time."""


def new_tasks(type: str, payloads: Sequence[Task], **fields: Any) -> list[Task]:
    """Tasks with ids of our own: each may be sent as often as it takes, and is one task."""
    ids = id_texts(new_task_ids(len(payloads)))
    return [{"id": id_, "type": type, "payload": payload, **fields} for id_, payload in zip(ids, payloads, strict=True)]


class Submissions:
    """The way to one queue, with an API key. `accepted` is called with the ids that were acknowledged."""

    def __init__(self, host: str, queue: str, key: str, accepted: Callable[[Sequence[str]], None]) -> None:
        self._host = host
        self._path = f"/api/v1/queues/{queue}/tasks/batch"
        self._key = key
        self._accepted = accepted
        self.refusals: dict[int, int] = {}
        """How often each status was answered that is no acknowledgement."""

    async def submit(self, tasks: Sequence[Task], timeout: float) -> None:
        """Returns once all are acknowledged. Raises NotTaken."""
        deadline = time.monotonic() + timeout
        left = list(tasks)
        while left:
            again = await self.offer(left)
            if again and time.monotonic() > deadline:
                raise NotTaken(f"{len(again)} of {len(tasks)} tasks not acknowledged in {timeout:g} s: {self.refusals}")
            if again:
                await asyncio.sleep(_AGAIN_S)
            left = again

    async def offer(self, tasks: Sequence[Task]) -> list[Task]:
        """Sends each once; returns those that are to be sent again. Raises NotTaken."""
        again: list[Task] = []
        for at in range(0, len(tasks), _PAGE):
            page = tasks[at : at + _PAGE]
            try:
                status, answer = await asyncio.to_thread(self._post, page)
            except (OSError, http.client.HTTPException):
                self._refused(0)
                again += page
                continue
            if "results" in answer:
                again += self._sort(page, answer["results"])
            elif status in _LATER:
                self._refused(status)
                again += page
            else:
                raise NotTaken(f"{status}: {json.dumps(answer)[:500]}")
        return again

    def _sort(self, page: Sequence[Task], results: Sequence[Task]) -> list[Task]:
        taken: list[str] = []
        again: list[Task] = []
        for task, result in zip(page, results, strict=True):
            if result["status"] in (200, 201):
                taken.append(task["id"])
            elif result["status"] in _LATER:
                self._refused(result["status"])
                again.append(task)
            else:
                raise NotTaken(json.dumps(result)[:500])
        self._accepted(taken)
        return again

    def _post(self, page: Sequence[Task]) -> tuple[int, Task]:
        # A connection for each, so that none sticks to a gateway that leaves.
        connection = http.client.HTTPConnection(self._host, 80, timeout=_TIMEOUT_S)
        try:
            headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._key}"}
            connection.request("POST", self._path, json.dumps(page), headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        try:
            said = json.loads(text)
        except ValueError:
            said = {}
        return answer.status, said if isinstance(said, dict) else {}

    def ask(self, method: str, path: str, key: str | None) -> int:
        """The status of one request without a body."""
        connection = http.client.HTTPConnection(self._host, 80, timeout=_TIMEOUT_S)
        try:
            connection.request(method, path, headers={"Authorization": f"Bearer {key}"} if key else {})
            return connection.getresponse().status
        finally:
            connection.close()

    def _refused(self, status: int) -> None:
        self.refusals[status] = self.refusals.get(status, 0) + 1
