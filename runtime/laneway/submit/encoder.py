"""Encodes tasks against one configuration, fast: tasks that differ in their payload alone share the rest."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable

import msgspec

from laneway.model.config import QueueConfig
from laneway.model.envelope import Backoff, Body, Envelope, encode_envelope, said_after_payload
from laneway.submit.checks import EMPTY, check_own, check_payload, check_shape, live_lane
from laneway.submit.new_task import NewTask

#: Kinds of tasks remembered; when there are more, all are forgotten and made again as they come.
MAX_TEMPLATES = 1024

#: The msgpack headers of byte strings under 256 bytes.
_SHORT_BIN = [b"\xc4" + bytes([n]) for n in range(256)]
_EMPTY_BIN = b"\xc4\x00"


class _Template(msgspec.Struct):
    """All that tasks of one kind share, and their envelope cut open at the payload."""

    lane: int
    priority: int
    max_attempts: int
    before: bytes
    after: bytes


class Encoder:
    """Checks and encodes tasks against ``config``. ``now`` tells the time in seconds since 1970."""

    def __init__(self, config: QueueConfig, now: Callable[[], float] = time.time) -> None:
        self.config = config
        self._now = now
        self._templates: dict[Hashable, _Template] = {}
        # A payload longer than this goes the slow way: it may be compressed, or is refused.
        self._plain_max = min(config.max_payload, config.compress_over or config.max_payload)

    def encode(self, task: NewTask) -> bytes:
        """The envelope of a task.

        Raises:
            InvalidTask: (or UnknownLane, PayloadTooLarge) it can't be submitted as it is.
        """
        labels = task.labels
        try:
            # With the types of numbers: True, 1 and 1.0 are equal, but not all of them are right.
            priority, most, backoff = task.priority, task.max_attempts, task.backoff
            kind = (
                task.type, task.lane, priority, type(priority), most, type(most), task.tenant,
                task.timeout, type(task.timeout), task.start_timeout, type(task.start_timeout),
                None if backoff is None else _exactly(backoff), tuple(labels.items()) if labels else None,
            )  # fmt: skip
            template = self._templates.get(kind)
        except (TypeError, AttributeError):  # a list where a text should be, and the like
            check_shape(task)
            live_lane(task, self.config)
            raise
        if template is None:
            template = self._prepare(task, kind)
        payload = task.payload
        if (
            task.key is None
            and not task.delay
            and task.run_at is None
            and task.trace is None
            and task.description is None
            and task.id is None
            and type(payload) is bytes
            and 0 < (size := len(payload)) <= self._plain_max
        ):
            if task.sound is not True and payload != EMPTY:
                check_payload(task, self.config)
            return template.before + (_SHORT_BIN[size] if size < 256 else _bin_header(size)) + payload + template.after
        check_own(task, self.config, self._now)
        return encode_envelope(_envelope(task, template), compress_over=self.config.compress_over)

    def _prepare(self, task: NewTask, kind: Hashable) -> _Template:
        """Checks what tasks of this kind share, and encodes it once."""
        check_shape(task)
        lane = live_lane(task, self.config)
        # 0: the worker's definition of the task decides, or else the queue.
        template = _Template(lane.n, task.priority, task.max_attempts or 0, b"", b"")
        plain = NewTask(
            type=task.type, payload=b"", priority=task.priority, tenant=task.tenant, timeout=task.timeout,
            start_timeout=task.start_timeout, backoff=task.backoff, labels=task.labels,
        )  # fmt: skip
        env = _envelope(plain, template)
        whole = encode_envelope(env)
        # Cut by the length of the fields after the payload, not where two bytes look right.
        rest = b"".join(msgspec.msgpack.encode(field) for field in said_after_payload(env.body))
        cut = len(whole) - len(rest)
        if whole[cut:] != rest or whole[:cut][-2:] != _EMPTY_BIN:
            raise AssertionError("the layout of envelopes has changed; laneway.submit.encoder must follow it")
        template.before, template.after = whole[: cut - 2], rest
        if len(self._templates) >= MAX_TEMPLATES:
            self._templates.clear()
        self._templates[kind] = template
        return template


def _envelope(task: NewTask, template: _Template) -> Envelope:
    body = Body(
        task.type, task.payload, math.ceil(task.timeout * 1000), task.backoff, task.labels or None,
        task.description, task.trace,
    )  # fmt: skip
    return Envelope(
        lane=template.lane,
        priority=template.priority,
        max_attempts=template.max_attempts,
        tenant=task.tenant,
        body=body,
        delay_ms=task.delay * 1000.0,
        at_ms=task.run_at.timestamp() * 1000.0 if task.run_at is not None else 0.0,
        start_timeout_ms=math.ceil(task.start_timeout * 1000),
        idempotency_key=task.key,
    )


def _exactly(backoff: Backoff) -> Hashable:
    numbers = (backoff.base, backoff.factor, backoff.cap, backoff.jitter)
    return (numbers, *map(type, numbers))


def _bin_header(size: int) -> bytes:
    return b"\xc5" + size.to_bytes(2, "big") if size < 65_536 else b"\xc6" + size.to_bytes(4, "big")
