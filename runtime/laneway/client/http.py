"""A client of the HTTP API, for applications that reach Laneway through its gateway instead of Redis."""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any
from urllib.parse import quote

import httpx
import msgspec

from laneway import __version__
from laneway.client import http_answers as a
from laneway.client.http_answers import read_answer
from laneway.client.http_calls import Caller, Token
from laneway.client.http_errors import error_of
from laneway.client.http_stream import follow
from laneway.errors import LanewayError, ResultTimeout, TaskCancelled, TaskDead, TaskExpired
from laneway.kit.ids import id_text, new_task_ids

#: How long one request waits for a task's end, at most (s); longer waits are made of these.
_WAIT = 30.0
#: What a task body may have, by the names of Python; the API's are in camel case.
_FIELDS = (
    "id", "lane", "priority", "description", "tenant", "idempotency_key", "delay", "run_at", "start_timeout", "timeout",
    "max_attempts", "backoff", "labels",
)  # fmt: skip
#: How many tasks a gateway takes in one batch.
BATCH = 1_000


class HttpClient:
    """One queue, through a gateway. Usable by as many coroutines of one event loop as like; close it at the end, or use
    it as an async context manager::

        async with HttpClient("https://laneway.example.com", queue="orders", token=os.environ["TOKEN"]) as client:
            task = await client.submit("charge", {"amount": 12.5}, lane="high", idempotency_key="order-7")
            print(await client.result(task.id, timeout=60))

    A call that the gateway refuses for now (503, 429) or can't be reached for is repeated for up to ``patience``
    seconds, when ``Retry-After`` says. So is one whose answer got lost, where that is safe: a submission always is,
    since it carries an id from here on when it has no idempotency key. What the gateway refuses for good is raised as
    the error that the SDK has for the same, with the gateway's own words; ``error.problem`` is its name.

    Args:
        url: the gateway's address, such as ``https://laneway.example.com``.
        queue: the queue's name.
        token: an API key, OIDC token or Kubernetes service account token; or a function, async or not, that gives one,
            and is asked again when the gateway no longer knows the last.
        patience: how long a call is repeated (s).
        timeout: how long one answer may take (s).
        verify: True, False (any certificate is taken: for tests), or the SSL context that knows the gateway's CA.
        transport: another way to reach the gateway, such as one within the process.
        agent: the ``User-Agent`` of requests.

    Raises:
        ConfigError: ``url`` is no address of a gateway.
    """

    def __init__(
        self,
        url: str,
        queue: str = "default",
        *,
        token: Token | None = None,
        patience: float = 10.0,
        timeout: float = 30.0,
        verify: ssl.SSLContext | bool = True,
        transport: httpx.AsyncBaseTransport | None = None,
        agent: str = f"laneway/{__version__}",
    ) -> None:
        self.queue = queue
        self._patience = patience
        self.caller = Caller(
            url, token=token, patience=patience, timeout=timeout, verify=verify, transport=transport, agent=agent
        )

    @property
    def url(self) -> str:
        """The gateway's address."""
        return self.caller.url

    async def __aenter__(self) -> HttpClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connections."""
        await self.caller.close()

    def path(self, *parts: str) -> str:
        """The address of something of the queue, with every part made harmless."""
        return "/".join(["/api/v1/queues", *(quote(part, safe="") for part in (self.queue, *parts))])

    # -- submitting

    async def submit(self, type: str, payload: Mapping[str, Any] | None = None, **options: Any) -> a.Submitted:
        """Submits one task. ``options`` are those of the API: lane, priority, tenant, idempotency_key, delay, run_at,
        start_timeout, timeout, max_attempts, backoff, labels, description, id.

        Raises:
            InvalidTask: (or UnknownLane, PayloadTooLarge) it can't be submitted as it is.
            IdempotencyConflict: the key is that of a task with another payload.
            Refused: not now (RateLimited, QueueFull, Unavailable).
            OutcomeUnknown: no answer came; ``task_id`` submits the same task again.
            TypeError: there is no such option.
        """
        if unknown := set(options).difference(_FIELDS):
            raise TypeError(f"a task has no {', '.join(sorted(unknown))}; what it may have: {', '.join(_FIELDS)}")
        body = {_camel(name): value for name, value in options.items() if value is not None}
        return await self.submit_body({"type": type, **({"payload": payload} if payload else {}), **body})

    async def submit_body(self, body: Mapping[str, Any]) -> a.Submitted:
        """Submits a task of the form that the API takes. Raises as :meth:`submit`."""
        ours = None
        if not body.get("id") and not body.get("idempotencyKey"):
            ours = _new_ids(1)[0]
            body = {**body, "id": ours}
        try:
            answer = await self._get(a.Submitted, "POST", self.path("tasks"), body=body)
        except LanewayError as error:
            if ours is not None and getattr(error, "task_id", None) == "":
                error.task_id = ours  # type: ignore[attr-defined]
            raise
        if answer.id == ours:
            answer.duplicate = False  # the first of two tries of this call was taken
        return answer

    async def submit_many(self, tasks: Sequence[Mapping[str, Any]]) -> list[a.Submitted | LanewayError]:
        """Submits tasks of the form that the API takes, by batches. Each is taken or refused by itself; the errors are
        those of :meth:`submit`.

        Raises:
            LanewayError: a batch as a whole was refused, such as for its credential; those before it were taken.
        """
        results: list[a.Submitted | LanewayError] = []
        for i in range(0, len(tasks), BATCH):
            bodies = [msgspec.json.encode(_with_id(task)) for task in tasks[i : i + BATCH]]
            results += await self.submit_raw(bodies)
        return results

    async def submit_raw(self, tasks: Sequence[bytes | msgspec.Raw]) -> list[a.Submitted | LanewayError]:
        """Submits one batch of tasks that are JSON already. Give each an id or a key: then a lost answer is asked for
        again. Raises as :meth:`submit_many`."""
        body = b"[" + b",".join(map(bytes, tasks)) + b"]"
        try:
            raw = await self.caller.json("POST", self.path("tasks", "batch"), body=body)
        except LanewayError as error:
            # (a gateway without its Redis, where each task has its own answer in a refused batch)
            if error.problem not in ("unavailable", "outcome-unknown", "queue-full", "rate-limited"):
                raise
            return [error] * len(tasks)
        return [_item(item) for item in _member(raw, "results", list)]

    # -- single tasks

    async def task(self, id: str) -> a.TaskDetail:
        """All that is known of a task. Raises UnknownTask."""
        return await self._get(a.TaskDetail, "GET", self.path("tasks", id))

    async def cancel(self, id: str) -> str:
        """Asks that the task be not done: ``cancelled``, or ``requested`` when it runs. Raises WrongState when it has
        ended, UnknownTask."""
        return str(_member(await self.caller.json("POST", self.path("tasks", id, "cancel")), "outcome", str))

    async def retry(self, id: str) -> str:
        """Queues a task now that waits for its retry, or has ended without success; its state then. Raises WrongState
        when it waits or runs already, UnknownTask."""
        return str(_member(await self.caller.json("POST", self.path("tasks", id, "retry")), "state", str))

    async def revise(
        self,
        id: str,
        *,
        priority: int | None = None,
        lane: str | None = None,
        run_at: datetime | None = None,
        delay: float | None = None,
        etag: str | None = None,
    ) -> a.TaskItem:
        """Changes a task that waits. ``etag``: only if it is still as it was then. Raises WrongState, UnknownTask,
        UnknownLane, InvalidTask."""
        changes = {"priority": priority, "lane": lane, "runAt": run_at, "delay": delay}
        body = {name: value for name, value in changes.items() if value is not None}
        headers = {"If-Match": etag} if etag else None
        return await self._get(a.TaskItem, "PATCH", self.path("tasks", id), body=body, headers=headers)

    async def outcome(self, id: str, timeout: float | None = None) -> a.TaskResult:
        """Waits for the task's end, at most ``timeout`` seconds (None: as long as it takes).

        Raises:
            ResultTimeout: it has not ended yet, and goes on.
            UnknownTask: there is none of that id (any more).
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = _WAIT if deadline is None else min(_WAIT, max(0.0, deadline - time.monotonic()))
            query = {"wait": f"{left:.3f}"}
            raw, response = await self.caller.answer("GET", self.path("tasks", id, "result"), query=query, wait=left)
            answer = read_answer(raw, a.TaskResult)
            if response.status_code != 202:
                return answer
            if deadline is not None and time.monotonic() >= deadline:
                text = f"task {id} has not ended after {timeout:g} s; it is {answer.state} and goes on"
                raise ResultTimeout(text, id)

    async def result(self, id: str, timeout: float | None = None) -> Any:
        """The task's result, once it has one; waits as :meth:`outcome`.

        Raises:
            TaskDead: it failed for good. TaskCancelled, TaskExpired: it was not done.
            ResultTimeout: it has not ended yet, and goes on.
            UnknownTask: there is none of that id (any more).
        """
        ended = await self.outcome(id, timeout)
        if ended.state == "succeeded":
            return ended.result
        kinds = {"dead": TaskDead, "cancelled": TaskCancelled}
        error = ended.error if isinstance(ended.error, dict) else {}
        why = f": {error.get('kind', '')}: {error.get('message', '')}" if error else ""
        raise kinds.get(ended.state, TaskExpired)(f"task {id} is {ended.state}{why}", id)

    async def logs(self, id: str, after: int = 0) -> a.TaskLogs:
        """Log lines of a task after number ``after``. Raises UnknownTask."""
        return await self._get(a.TaskLogs, "GET", self.path("tasks", id, "logs"), query={"after": after or None})

    # -- lists and changes of many

    async def task_page(self, cursor: str | None = None, **filters: Any) -> a.TaskPage:
        """One page of tasks. ``filters`` are those of the API, in Python's names: state, lane, type, tenant, label,
        created_from, created_to, ended_from, ended_to, error, q, sort, limit. Raises InvalidRequest."""
        return await self._get(a.TaskPage, "GET", self.path("tasks"), query=filter_query(filters) | {"cursor": cursor})

    async def tasks(self, **filters: Any) -> AsyncIterator[a.TaskItem]:
        """All tasks that are meant, page by page; ``filters`` as of :meth:`task_page`."""
        cursor: str | None = None
        while True:
            page = await self.task_page(cursor, **filters)
            for item in page.items:
                yield item
            cursor = page.next
            if cursor is None:
                return

    async def states(self, ids: Sequence[str]) -> dict[str, str | None]:
        """The states of tasks (at most 1,000); None for one that is unknown."""
        raw = await self.caller.json("POST", self.path("tasks", "states"), body={"ids": list(ids)})
        return dict(_member(raw, "states", dict))

    async def bulk(self, body: Mapping[str, Any]) -> a.BulkAnswer:
        """One call of a change of many: ``action``, ``filter`` or ``ids``, ``cursor``, as the API takes it."""
        return await self._get(a.BulkAnswer, "POST", self.path("tasks", "bulk"), body=body)

    async def dead_page(self, cursor: str | None = None, **filters: Any) -> a.TaskPage:
        """One page of dead letters, newest first; ``filters`` as of :meth:`task_page`, and ``fingerprint``."""
        return await self._get(a.TaskPage, "GET", self.path("dead"), query=filter_query(filters) | {"cursor": cursor})

    async def dead_groups(self, cursor: str | None = None, **filters: Any) -> a.DeadGroups:
        """Dead letters by error, most first."""
        query = filter_query(filters) | {"cursor": cursor}
        return await self._get(a.DeadGroups, "GET", self.path("dead", "groups"), query=query)

    async def dead_letter(self, id: str) -> a.TaskDetail:
        """A dead letter with the error of each attempt. Raises UnknownTask."""
        return await self._get(a.TaskDetail, "GET", self.path("dead", id))

    async def replay(self, body: Mapping[str, Any]) -> a.ReplayAnswer:
        """One call of a replay of dead letters: ``ids``, ``filter`` or ``all``, ``share``, ``limit``, ``dryRun``,
        ``cursor``, as the API takes it."""
        return await self._change_dead("replay", body)

    async def purge(self, body: Mapping[str, Any]) -> a.ReplayAnswer:
        """One call that forgets dead letters, chosen as for :meth:`replay`."""
        return await self._change_dead("purge", body)

    async def _change_dead(self, verb: str, body: Mapping[str, Any]) -> a.ReplayAnswer:
        # A second call with a limit would take others than the first.
        return await self._get(
            a.ReplayAnswer, "POST", self.path("dead", verb), body=body, repeat=body.get("limit") is None
        )

    # -- queues, lanes, workers

    async def queues(self) -> list[a.QueueItem]:
        """The queues that the gateway serves."""
        return _items(await self.caller.json("GET", "/api/v1/queues"), a.QueueItem)

    async def queue_info(self) -> a.QueueItem:
        """The queue, with the configuration in force in ``raw``. Raises UnknownQueue."""
        return await self._get(a.QueueItem, "GET", self.path())

    async def lanes(self) -> list[a.LaneItem]:
        """The queue's lanes."""
        return _items(await self.caller.json("GET", self.path("lanes")), a.LaneItem)

    async def eta(self, lane: str) -> a.LaneEta:
        """When a task submitted now to a lane would start. Raises UnknownLane."""
        return await self._get(a.LaneEta, "GET", self.path("lanes", lane, "eta"))

    async def workers(self) -> list[a.WorkerItem]:
        """The workers that are registered."""
        return _items(await self.caller.json("GET", self.path("workers")), a.WorkerItem)

    async def drain(self, worker: str) -> Any:
        """Asks a worker, by its id, to take nothing new and to end when its tasks have."""
        return await self.caller.json("POST", self.path("workers", worker, "drain"))

    async def types(self) -> list[a.TypeItem]:
        """The types of tasks that the queue's workers run, or ran within the last day."""
        return _items(await self.caller.json("GET", self.path("types")), a.TypeItem)

    async def stats(self) -> a.Stats:
        """The queue's numbers now."""
        return await self._get(a.Stats, "GET", self.path("stats"))

    async def history(
        self, *, since: datetime | None = None, until: datetime | None = None, step: str | None = None
    ) -> a.History:
        """The queue's numbers over time; ``step`` is 10s, 1m, 5m or 1h."""
        query = {"from": _time(since), "to": _time(until), "step": step}
        return await self._get(a.History, "GET", self.path("stats", "history"), query=query)

    async def whoami(self) -> a.Whoami:
        """Whom the gateway takes the credential for."""
        return await self._get(a.Whoami, "GET", "/api/v1/whoami")

    async def index(self) -> Any:
        """What the gateway serves: its queues, and where things are."""
        return await self.caller.json("GET", "/")

    # -- events

    async def events(
        self,
        *,
        kinds: Iterable[str] = (),
        lane: str | None = None,
        task: str | None = None,
        after: str | None = None,
        stats: bool = False,
        patience: float | None = None,
    ) -> AsyncGenerator[a.Event, None]:
        """What happens in the queue, as it happens, without end; the first are those after position ``after`` (None:
        now). A broken connection is made anew where it broke off, for up to ``patience`` seconds at a stretch (None:
        without end). ``stats``: also the queue's numbers, once a second, as events of that kind with them in ``raw``.

        Raises:
            LanewayError: the gateway refused, was away for too long (Unavailable), or does not answer as one.
        """
        query = {"kinds": ",".join(kinds) or None, "lane": lane, "task": task, "stats": None if stats else "0"}
        stream = follow(self.caller, self.path("events"), query, after, patience=patience)
        async with aclosing(stream):  # an abandoned stream would stay open until it is collected
            async for sent in stream:
                try:
                    raw = msgspec.json.decode(sent.data)
                except msgspec.MsgspecError as error:
                    raise LanewayError(f"an event of {self.url} is no JSON: {error}") from error
                event = read_answer({**raw, "kind": sent.event}, a.Event)
                event.position = sent.id
                yield event

    async def recent_events(
        self,
        *,
        kinds: Iterable[str] = (),
        lane: str | None = None,
        task: str | None = None,
        after: str | None = None,
        limit: int = 100,
        wait: float = 0.0,
    ) -> list[a.Event]:
        """At most ``limit`` events after a position, oldest first; without one, the latest. ``wait``: how long to wait
        for the first (s)."""
        query: dict[str, Any] = {"kinds": ",".join(kinds) or None, "lane": lane, "task": task, "after": after}
        query |= {"limit": limit, "wait": wait or None}
        raw = await self.caller.json("GET", self.path("events"), query=query, wait=wait)
        return [read_answer(event, a.Event) for event in _member(raw, "events", list)]

    async def _get(self, kind: type[a.T], method: str, path: str, **options: Any) -> a.T:
        return read_answer(await self.caller.json(method, path, **options), kind)


def _items(raw: Any, kind: type[a.T]) -> list[a.T]:
    return [read_answer(item, kind) for item in _member(raw, "items", list)]


def _member(raw: Any, name: str, kind: type) -> Any:
    """A member of an answer. Raises LanewayError when it has none of that kind."""
    value = raw.get(name) if isinstance(raw, dict) else None
    if not isinstance(value, kind):
        raise LanewayError(f"the answer is not that of a gateway of Laneway: it has no {name}")
    return value


def _item(item: dict[str, Any]) -> a.Submitted | LanewayError:
    problem = item.get("problem")
    if problem:
        return error_of(problem)
    # (there may be very many: not by way of a check of types)
    made = a.Submitted(id=item["id"], state=item.get("state"), duplicate=bool(item.get("duplicate")))
    made.__dict__["raw_json"] = item
    return made


def _with_id(task: Mapping[str, Any]) -> Mapping[str, Any]:
    return task if task.get("id") or task.get("idempotencyKey") else {**task, "id": _new_ids(1)[0]}


def _new_ids(n: int) -> list[str]:
    return [id_text(raw) for raw in new_task_ids(n)]


def filter_query(filters: Mapping[str, Any]) -> dict[str, Any]:
    """Filters, by Python's names, as the query that the API takes: several values are one text with commas."""
    query: dict[str, Any] = {}
    for name, value in filters.items():
        if name == "label":
            pairs = value.items() if isinstance(value, Mapping) else [text.split(":", 1) for text in value or ()]
            query[name] = [f"{key}:{text}" for key, text in pairs] or None
        elif isinstance(value, datetime):
            query[_camel(name)] = _time(value)
        elif isinstance(value, list | tuple | set | frozenset):
            query[_camel(name)] = ",".join(str(part).replace(",", "\\,") for part in value) if value else None
        else:
            query[_camel(name)] = value
    return query


def _time(when: datetime | None) -> str | None:
    return when.isoformat() if when else None


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
