"""The submit stage: from tasks to receipts, for the SDK and the gateway alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from laneway.errors import LanewayError, OutcomeUnknown, SchemaTooNew, Unavailable
from laneway.kit.ids import id_text, new_task_ids
from laneway.model.config import QueueConfig
from laneway.ports.store import Submitted, TaskStore
from laneway.submit.encoder import Encoder
from laneway.submit.new_task import NewTask, Receipt
from laneway.submit.verdicts import verdict

#: One script call takes at most this many tasks and bytes, so that it stays short (one large task still goes
#: alone).
BATCH_TASKS = 500
BATCH_BYTES = 1_048_576

_Pair = tuple[bytes, bytes]


class Submitter:
    """Checks tasks against the queue's live configuration, encodes and submits them in batches.

    When no answer came in time, :class:`~laneway.errors.OutcomeUnknown` is raised: the tasks may or may not
    be in the queue. Submitting the same :class:`NewTask` objects again is safe, since each keeps the id that
    it got the first time and an id enters a queue once only; a new object with the same arguments would be
    another task, unless it has the same id or idempotency key.
    """

    def __init__(self, store: TaskStore) -> None:
        self._store = store
        self._encoder: Encoder | None = None

    async def submit(self, task: NewTask) -> Receipt:
        """Submits one task. When this returns, the task is in the queue.

        Raises:
            InvalidTask: (or UnknownLane, PayloadTooLarge) it can't be submitted as it is.
            IdempotencyConflict: its key or id belongs to another task.
            Refused: (RateLimited, QueueFull, Unavailable) not now; nothing was changed.
            OutcomeUnknown: no answer came; submit the same object again.
        """
        encoder = await self._current()
        envelope = encoder.encode(task)
        if task.id is None:
            task.id = new_task_ids(1)[0]
        try:
            (got,) = await self._store.submit([(task.id, envelope)])
            if got.code == "lane":
                envelope = (await self._current(reload=True)).encode(task)
                (got,) = await self._store.submit([(task.id, envelope)])
        except OutcomeUnknown as error:
            raise _unknown(error, task) from error
        result = verdict(task, got)
        if isinstance(result, Receipt):
            return result
        raise result

    async def submit_many(self, tasks: Sequence[NewTask]) -> list[Receipt | LanewayError]:
        """Submits any number of tasks, in order, at most 500 to a call. The result of each is its receipt or
        the error that :meth:`submit` would have raised; no task's refusal touches another.

        When Redis is away in the middle, the tasks of the call without an answer get OutcomeUnknown (or
        Unavailable), and those after it, which were not sent, get Unavailable.

        Raises:
            ConfigError: the queue is not configured.
            Unavailable: Redis is away and nothing was submitted.
        """
        encoder = await self._current()
        results: list[Receipt | LanewayError] = [_NOT_SENT] * len(tasks)
        fresh = iter(new_task_ids(sum(1 for task in tasks if task.id is None)))
        ready: list[tuple[int, _Pair]] = []
        for i, task in enumerate(tasks):
            try:
                envelope = encoder.encode(task)
            except LanewayError as error:
                results[i] = error
                continue
            if task.id is None:
                task.id = next(fresh)
            ready.append((i, (task.id, envelope)))
        moved = await self._send(tasks, ready, results)
        if moved:
            await self._send_again(tasks, moved, results)
        return results

    async def _send(
        self, tasks: Sequence[NewTask], ready: list[tuple[int, _Pair]], results: list[Receipt | LanewayError]
    ) -> list[int]:
        """Submits encoded tasks by batches and writes their results; returns those whose lane is not known
        any more."""
        moved: list[int] = []
        for batch in _batches(ready):
            try:
                answers: list[Submitted] = await self._store.submit([pair for _, pair in batch])
            except (Unavailable, OutcomeUnknown, SchemaTooNew) as error:
                # Later batches are not tried: each would wait as long as this one did.
                for i, _ in batch:
                    results[i] = _unknown(error, tasks[i]) if isinstance(error, OutcomeUnknown) else error
                break
            for (i, (id, _)), got in zip(batch, answers, strict=True):
                if got.code == "accepted":
                    results[i] = Receipt(id)
                else:
                    results[i] = verdict(tasks[i], got)
                    if got.code == "lane":
                        moved.append(i)
        return moved

    async def _send_again(
        self, tasks: Sequence[NewTask], moved: list[int], results: list[Receipt | LanewayError]
    ) -> None:
        """The lanes changed between encoding and submitting: encodes those tasks anew, once."""
        try:
            encoder = await self._current(reload=True)
        except LanewayError as error:
            for i in moved:
                results[i] = error
            return
        ready: list[tuple[int, _Pair]] = []
        for i in moved:
            task = tasks[i]
            assert task.id is not None
            try:
                ready.append((i, (task.id, encoder.encode(task))))
            except LanewayError as error:
                results[i] = error
        await self._send(tasks, ready, results)

    async def _current(self, *, reload: bool = False) -> Encoder:
        """The encoder of the live configuration."""
        config: QueueConfig = await self._store.config(reload=True) if reload else await self._store.config()
        encoder = self._encoder
        if encoder is None or encoder.config is not config:
            encoder = self._encoder = Encoder(config, _clock_of(self._store))
        return encoder


def _clock_of(store: TaskStore) -> Callable[[], float]:
    """The time in seconds since 1970. A store that makes its own (of tests) tells it: a time to run at counts from
    there."""
    now_ms: Callable[[], int] | None = getattr(getattr(store, "clock", None), "now_ms", None)
    return (lambda: now_ms() / 1000) if now_ms else time.time


_NOT_SENT = Unavailable("not sent: a batch before it had no answer; nothing was changed")


def _unknown(error: OutcomeUnknown, task: NewTask) -> OutcomeUnknown:
    assert task.id is not None
    return OutcomeUnknown(f"task {id_text(task.id)}: {error}", id_text(task.id))


def _batches(ready: list[tuple[int, _Pair]]) -> list[list[tuple[int, _Pair]]]:
    """Cuts what is to be sent into calls, in order."""
    if len(ready) <= BATCH_TASKS and sum(len(pair[1]) for _, pair in ready) <= BATCH_BYTES:
        return [ready] if ready else []
    batches: list[list[tuple[int, _Pair]]] = []
    batch: list[tuple[int, _Pair]] = []
    size = 0
    for item in ready:
        length = len(item[1][1])
        if batch and (len(batch) >= BATCH_TASKS or size + length > BATCH_BYTES):
            batches.append(batch)
            batch, size = [], 0
        batch.append(item)
        size += length
    batches.append(batch)
    return batches
