"""What the gateway has of each queue."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import TypeVar

import msgspec

from laneway.errors import LanewayError, OutcomeUnknown, Unavailable
from laneway.gateway.coalescer import Coalescer
from laneway.gateway.etas import LaneEtas
from laneway.gateway.limits import GatewayLimits
from laneway.gateway.problems import Problem, rejection
from laneway.gateway.views import stats_answer
from laneway.gateway.watch import QueueWatch
from laneway.kit.health import Health
from laneway.kit.ids import id_text
from laneway.kit.task_metrics import QueueTasks
from laneway.model.config import DEFAULT_PRIORITY, QueueConfig
from laneway.ports.store import TaskStore
from laneway.submit import NewTask, Receipt, Submitter
from laneway.submit.spans import SubmitSpans

T = TypeVar("T")


class QueueFront:
    """One queue behind the gateway. Nothing waits for Redis longer than the deadline, and nothing at all
    while the watch says that Redis is away."""

    def __init__(
        self,
        name: str,
        store: TaskStore,
        watch: QueueWatch,
        tasks: QueueTasks,
        limits: GatewayLimits,
        spans: SubmitSpans | None = None,
        health: Health | None = None,
    ) -> None:
        self.name = name
        self.store = store
        self.watch = watch
        self.tasks = tasks
        self.spans = spans
        self._limits = limits
        self._body: tuple[int, bytes] | None = None
        self.etas = LaneEtas(name, store, watch, health=health)
        self._submitter = Submitter(store)
        self._coalescer = Coalescer(self._submitter.submit_many, most=limits.max_waiting, sizes=tasks.batch)

    async def submit(self, task: NewTask) -> Receipt | LanewayError:
        """Submits one task, together with others that come at the same time."""
        if self.spans is None:
            return await self._submit(task)
        with self.spans.one(task) as results:
            results.append(await self._submit(task))
        return results[0]

    async def _submit(self, task: NewTask) -> Receipt | LanewayError:
        if self.watch.away is not None:
            return self._count(task, self._away(), "")
        result = await self._coalescer.submit(task, self._limits.deadline)
        (counted,) = await self._counted([task], [result])
        return counted

    async def submit_many(self, tasks: list[NewTask]) -> list[Receipt | LanewayError]:
        """Submits a batch; the result of each task, in order."""
        if self.spans is None:
            return await self._submit_many(tasks)
        with self.spans.many(tasks) as results:
            results += await self._submit_many(tasks)
        return results

    async def _submit_many(self, tasks: list[NewTask]) -> list[Receipt | LanewayError]:
        if self.watch.away is not None:
            away = self._away()
            return [self._count(task, away, "") for task in tasks]
        results: list[Receipt | LanewayError]
        try:
            async with asyncio.timeout(self._limits.deadline):
                results = await self._submitter.submit_many(tasks)
        except TimeoutError:
            results = [_unknown(task, self._limits.deadline) for task in tasks]
        except LanewayError as error:
            results = [error] * len(tasks)
        return await self._counted(tasks, results)

    async def ask(self, answer: Awaitable[T], *, changes: bool = False) -> T:
        """Waits for the store's answer, up to the deadline.

        Raises:
            Unavailable: there is none, and the call changes nothing.
            OutcomeUnknown: there is none, and the call may have changed something (``changes``).
        """
        if self.watch.away is not None:
            if asyncio.iscoroutine(answer):
                answer.close()
            raise self._away()
        try:
            async with asyncio.timeout(self._limits.deadline):
                return await answer
        except OutcomeUnknown:
            if changes:
                raise
            raise Unavailable("Redis has not answered", 1.0) from None
        except TimeoutError:
            text = f"no answer from Redis in {self._limits.deadline:g} s"
            if changes:
                raise OutcomeUnknown(f"{text}: it may or may not have happened; repeating it is safe") from None
            raise Unavailable(text, 1.0) from None

    def check_reachable(self) -> None:
        """Raises Unavailable while the watch says that Redis is away."""
        if self.watch.away is not None:
            raise self._away()

    def stats_body(self) -> bytes | None:
        """The statistics that the watch read last, as JSON; None when there are none now. Made once for each look."""
        stats = self.watch.latest
        if stats is None:
            return None
        if self._body is None or self._body[0] != self.watch.looks:
            self._body = (self.watch.looks, msgspec.json.encode(stats_answer(self.name, stats, self.etas.seconds)))
        return self._body[1]

    async def config(self) -> QueueConfig:
        """The queue's live configuration."""
        return await self.ask(self.store.config())

    async def close(self) -> None:
        """Waits for submissions under way."""
        await self._coalescer.close()

    def refused(self, problem: Problem) -> None:
        """Counts a submission that was refused before it became a task."""
        self.tasks.rejected("", "too_large" if problem.kind.status == 413 else "invalid")

    def _away(self) -> Unavailable:
        return Unavailable(f"queue {self.name} can't be reached: {self.watch.away}; nothing was changed", 1.0)

    async def _settled(self, task: NewTask, error: LanewayError) -> Receipt | LanewayError:
        """What a refusal is in the end: a task sent again under its own id differs from the first time by its trace,
        which is no conflict."""
        id = task.id
        if id is None or task.trace is None or getattr(error, "task_id", None) != id_text(id):
            return error
        if isinstance(error, OutcomeUnknown):
            return error
        try:
            (view,) = await self.ask(self.store.get([id]))
        except LanewayError:
            return error
        if view is None:
            return error
        task.trace = view.envelope.body.trace
        try:
            return await self.ask(self._submitter.submit(task), changes=True)
        except LanewayError as refused:
            return refused

    async def _counted(
        self, tasks: Sequence[NewTask], results: Sequence[Receipt | LanewayError]
    ) -> list[Receipt | LanewayError]:
        """The results as they are answered, counted."""
        settled = [
            result if isinstance(result, Receipt) else await self._settled(task, result)
            for task, result in zip(tasks, results, strict=True)
        ]
        # The lane of tasks that name none: the configuration is at hand once a task was taken.
        taken = any(isinstance(result, Receipt) for result in settled)
        default = (await self.store.config()).default_lane if taken else ""
        return [self._count(task, result, default) for task, result in zip(tasks, settled, strict=True)]

    def _count(self, task: NewTask, result: Receipt | LanewayError, default: str) -> Receipt | LanewayError:
        if not isinstance(result, Receipt):
            # A name that is no lane, or was not checked, must not take the place of a real one.
            reason = rejection(result)
            lane = "" if reason in ("lane", "invalid", "unavailable") else task.lane or ""
            self.tasks.rejected(lane, reason)
            return result
        lane = task.lane or default
        if result.duplicate:
            self.tasks.series(lane, task.type).duplicate += 1
        else:
            self.tasks.series(lane, task.type).submitted += 1
            if not task.delay and task.run_at is None and task.priority == DEFAULT_PRIORITY:
                self.etas.submitted(result.id, lane)
        return result


def _unknown(task: NewTask, deadline: float) -> LanewayError:
    if task.id is None:
        return Unavailable(f"Redis has not answered for {deadline:g} s; nothing was changed", 1.0)
    name = id_text(task.id)
    return OutcomeUnknown(f"task {name}: no answer from Redis in {deadline:g} s", name)


Fronts = Mapping[str, QueueFront]
