"""What a task must be like to be submitted. Each refusal says what would be right.

Values come from other people's code, so nothing is believed about their types.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from laneway.errors import InvalidTask, PayloadTooLarge, UnknownLane
from laneway.kit.ids import ID_BYTES
from laneway.kit.names import tenant_name
from laneway.model.config import MAX_PRIORITY, LaneConfig, QueueConfig
from laneway.model.envelope import Backoff
from laneway.submit.new_task import NewTask

MAX_TYPE = 128
MAX_KEY = 200
MAX_ATTEMPTS = 255
MAX_LABELS = 16
MAX_LABEL_NAME = 63
MAX_LABEL_VALUE = 256
MAX_DESCRIPTION = 500
MAX_TRACE = 128
MAX_DELAY = 10 * 365 * 86_400.0
MAX_TIMEOUT = 40 * 86_400.0

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

#: The payload of a task without arguments.
EMPTY = b"\x80"

_PAYLOAD = "the payload must be one map of arguments by name (text), as msgpack, and nothing behind it"
_arguments = msgspec.msgpack.Decoder(dict[str, Any]).decode


def live_lane(task: NewTask, config: QueueConfig) -> LaneConfig:
    """The lane that the task goes to.

    Raises:
        UnknownLane: there is none of that name, or it is being removed.
    """
    name = config.default_lane if task.lane is None else task.lane
    lane = config.lane(name)
    if lane is None or lane.gone:
        what = "is being removed" if lane is not None else "does not exist"
        names = ", ".join(lane.name for lane in config.lanes if not lane.gone)
        raise UnknownLane(f"lane {_shown(name)} {what}; the lanes of this queue are: {names or '(none)'}")
    return lane


def check_shape(task: NewTask) -> None:
    """Checks what tasks of one kind share: type, priority, attempts, tenant, time-outs, backoff and labels.

    Raises:
        InvalidTask: the message says what would be right.
    """
    _check_name("type", task.type, MAX_TYPE)
    _check_whole("priority", task.priority, 0, MAX_PRIORITY)
    if task.max_attempts is not None:
        _check_whole("max_attempts", task.max_attempts, 1, MAX_ATTEMPTS)
    _check_tenant(task.tenant)
    _check_number("timeout", task.timeout, 0, MAX_TIMEOUT, " seconds")
    _check_number("start_timeout", task.start_timeout, 0, MAX_TIMEOUT, " seconds")
    if task.backoff is not None:
        check_backoff(task.backoff)
    if task.labels is not None:
        _check_labels(task.labels)


def check_own(task: NewTask, config: QueueConfig, now: Callable[[], float] = time.time) -> None:
    """Checks what each task has of its own: payload, id, idempotency key, due time, description and trace. ``now``
    tells the time in seconds since 1970, from which on a due time may be so far ahead.

    Raises:
        InvalidTask: the message says what would be right.
        PayloadTooLarge: the payload is over the queue's limit.
    """
    check_payload(task, config)
    if task.id is not None and not _is_bytes(task.id, ID_BYTES):
        raise InvalidTask(f"a task id is {ID_BYTES} bytes, as laneway.kit.ids makes them, not {_shown(task.id)}")
    if task.key is not None:
        _check_text("key", task.key, 0, MAX_KEY)
        if not 1 <= len(task.key.encode()) <= MAX_KEY:
            raise InvalidTask(f"key must be text of 1 to {MAX_KEY} bytes, not {len(task.key.encode())}")
    _check_number("delay", task.delay, 0, MAX_DELAY, " seconds")
    if task.run_at is not None:
        if task.delay:
            raise InvalidTask("give delay or run_at, not both")
        _check_run_at(task.run_at, now)
    if task.description is not None:
        _check_text("description", task.description, 0, MAX_DESCRIPTION)
    if task.trace is not None:
        _check_text("trace (a W3C traceparent)", task.trace, 0, MAX_TRACE)


def check_payload(task: NewTask, config: QueueConfig) -> None:
    """Checks that a task's payload is one msgpack map with texts as keys, of a size that the queue takes. A
    ``sound`` one is not decoded for that.

    Raises:
        InvalidTask: it is not such a map.
        PayloadTooLarge: it is over the queue's limit.
    """
    payload = task.payload
    if not _is_bytes(payload) or not payload or not (payload[0] & 0xF0 == 0x80 or payload[0] in (0xDE, 0xDF)):
        raise InvalidTask(_PAYLOAD)
    if len(payload) > config.max_payload:
        raise PayloadTooLarge(
            f"the payload has {len(payload):,} bytes, and this queue takes {config.max_payload:,} at most: "
            "store large data elsewhere and send where it is"
        )
    if task.sound is not True and payload != EMPTY:
        try:
            _arguments(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TypeError, ValueError) as error:
            raise InvalidTask(f"{_PAYLOAD}: {error}") from error


def check_backoff(backoff: Backoff) -> None:
    """Checks the numbers of a backoff.

    Raises:
        InvalidTask: the message says what would be right.
    """
    _check_is("backoff", backoff, Backoff)
    _check_number("backoff base", backoff.base, 0, MAX_DELAY, " seconds")
    _check_number("backoff cap", backoff.cap, 0, MAX_DELAY, " seconds")
    if backoff.base > backoff.cap:
        raise InvalidTask(f"backoff base must be at most its cap ({backoff.cap:g} seconds), not {backoff.base:g}")
    _check_number("backoff factor", backoff.factor, 1, 100, "")
    _check_number("backoff jitter", backoff.jitter, 0, 1, " (the share of the delay that is random)")


def _check_labels(labels: object) -> None:
    if not isinstance(labels, dict) or len(labels) > MAX_LABELS:
        raise InvalidTask(f"labels must be at most {MAX_LABELS} names with values, not {_shown(labels)}")
    for name, value in labels.items():
        _check_name("a label's name", name, MAX_LABEL_NAME)
        _check_text(f"the label {name!r}", value, 0, MAX_LABEL_VALUE)


def _check_name(what: str, value: object, most: int) -> None:
    if not isinstance(value, str) or not 1 <= len(value) <= most or not value.isprintable():
        raise InvalidTask(f"{what} must be 1 to {most} printable characters, not {_shown(value)}")


def _check_text(what: str, value: object, least: int, most: int) -> None:
    if not isinstance(value, str) or not least <= len(value) <= most:
        raise InvalidTask(f"{what} must be text of at most {most} characters, not {_shown(value)}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidTask(f"{what} holds a lone surrogate, which is not text that can be sent") from None


def _check_whole(what: str, value: object, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidTask(f"{what} must be a whole number from {least} to {most}, not {_shown(value)}")


def _check_number(what: str, value: object, least: float, most: float, unit: str) -> None:
    # Written so that NaN, which compares false with everything, is refused too.
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise InvalidTask(f"{what} must be from {least:,.0f} to {most:,.0f}{unit}, not {_shown(value)}")


def _check_run_at(value: object, now: Callable[[], float]) -> None:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise InvalidTask(f"run_at must be a datetime with a time zone, not {_shown(value)}")
    if value.timestamp() <= 0:
        raise InvalidTask(f"run_at must be after 1970, not {value.isoformat()}")
    if too_far(value, now()):
        raise InvalidTask(f"run_at must be at most ten years from now, not {value.isoformat()}")


def too_far(run_at: datetime, now: float) -> bool:
    """Whether a due time is further from ``now`` (seconds since 1970) than a delay may be."""
    return (run_at - _EPOCH).total_seconds() > now + MAX_DELAY


def _check_is(what: str, value: object, kind: type) -> None:
    if not isinstance(value, kind):
        raise InvalidTask(f"{what} must be a {kind.__name__}, not {_shown(value)}")


def _check_tenant(value: object) -> None:
    if not isinstance(value, str):
        raise InvalidTask(f"tenant must be text, not {_shown(value)}")
    try:
        tenant_name(value)
    except ValueError as error:
        raise InvalidTask(f"tenant: {error}") from error


def _is_bytes(value: object, size: int | None = None) -> bool:
    return isinstance(value, bytes) and (size is None or len(value) == size)


def _shown(value: object) -> str:
    """A value for a message: never long."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
