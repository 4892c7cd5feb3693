"""From JSON to a task to submit: decoding at once when all is right, and field by field to say what is
wrong."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import msgspec

from laneway.gateway.bodies import BackoffBody, FieldError, TaskBody
from laneway.gateway.problems import Problem, invalid
from laneway.gateway.reading import not_json, parse
from laneway.gateway.words import explain_fields, fields_of, short, shown, wrong
from laneway.kit.ids import id_bytes, id_text
from laneway.kit.names import tenant_name
from laneway.model.envelope import Backoff
from laneway.submit import NewTask
from laneway.submit.checks import MAX_KEY, MAX_LABEL_NAME, MAX_LABEL_VALUE, too_far

_one = msgspec.json.Decoder(TaskBody).decode
_many = msgspec.json.Decoder(list[TaskBody]).decode
_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
_pack = msgspec.msgpack.Encoder().encode

_UNREADABLE = (UnicodeDecodeError, RecursionError)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

#: Names are anybody's and as many as fit into a body, so of one object's unknown fields this many are told,
_MAX_UNKNOWN = 10
#: and in a batch, once this many errors are told, every further task tells its first alone.
_MAX_TOLD = 200


class _Room:
    """How many errors may still be told in the answer to one request."""

    def __init__(self) -> None:
        self.left = _MAX_TOLD

    def problem(self, errors: list[FieldError]) -> Problem:
        told = errors[: max(1, self.left)]
        self.left -= min(self.left, len(told))
        return invalid(told)


_TASK = fields_of(TaskBody)
_BACKOFF = fields_of(BackoffBody)


def read_task(raw: bytes, key: str | None = None, trace: str | None = None) -> NewTask:
    """The task in a body. ``key`` is the Idempotency-Key header, ``trace`` the traceparent header.

    Raises:
        Problem: malformed-json or invalid-task.
    """
    try:
        body = _one(raw)
    except msgspec.ValidationError:
        raise invalid(_explain(parse(raw), _MAX_UNKNOWN)) from None
    except (msgspec.DecodeError, *_UNREADABLE) as error:
        raise not_json(error, raw) from None
    if key is not None:
        if body.idempotency_key is not None and body.idempotency_key != key:
            message = "idempotencyKey must be the same as the Idempotency-Key header, or left out"
            raise invalid([FieldError("idempotencyKey", message)])
        body.idempotency_key = key
    return _new_task(body, trace, _Room())


def read_batch(raw: bytes, most: int, trace: str | None = None) -> list[NewTask | Problem]:
    """The tasks in a batch's body; a Problem in the place of each that can't be submitted.

    Raises:
        Problem: malformed-json, invalid-task (not an array, or empty) or batch-too-large; nothing is
        submitted then.
    """
    try:
        items = _items(raw)
    except msgspec.ValidationError:
        parse(raw)
        raise invalid([FieldError("", "the body of a batch must be a JSON array of tasks")]) from None
    except (msgspec.DecodeError, *_UNREADABLE) as error:
        raise not_json(error, raw) from None
    if not items:
        raise invalid([FieldError("", "the batch must have at least one task")])
    if len(items) > most:
        detail = f"a batch has at most {most:,} tasks, not {len(items):,}: send several"
        raise Problem("batch-too-large", detail, limit=most)
    room = _Room()
    try:
        bodies = _many(raw)
    except msgspec.ValidationError:
        parse(raw)  # whatever is no JSON at all refuses the batch whole
        return [_read_item(bytes(item), trace, room) for item in items]
    except (msgspec.DecodeError, *_UNREADABLE) as error:
        raise not_json(error, raw) from None
    return [_try_new_task(body, trace, room) for body in bodies]


def _read_item(raw: bytes, trace: str | None, room: _Room) -> NewTask | Problem:
    try:
        body = _one(raw)
    except msgspec.ValidationError:
        return room.problem(_explain(parse(raw), min(_MAX_UNKNOWN, room.left)))
    return _try_new_task(body, trace, room)


def _try_new_task(body: TaskBody, trace: str | None, room: _Room) -> NewTask | Problem:
    try:
        return _new_task(body, trace, room)
    except Problem as problem:
        return problem


def _new_task(body: TaskBody, trace: str | None, room: _Room) -> NewTask:
    errors = _check(body)
    payload = b"\x80"
    if body.payload:
        try:
            payload = _pack(body.payload)
        except OverflowError:
            errors.append(
                FieldError("payload", "payload must have whole numbers of at most 64 bits; send larger ones as text")
            )
        except RecursionError:
            errors.append(FieldError("payload", "payload must not be nested so deeply"))
    if errors:
        raise room.problem(errors)
    task = NewTask(
        type=body.type, payload=payload, lane=body.lane, max_attempts=body.max_attempts, trace=trace, sound=True
    )
    if body.priority is not None:
        task.priority = body.priority
    if body.id is not None:
        task.id = id_bytes(body.id)
    if body.backoff is not None:
        b = body.backoff
        task.backoff = Backoff(base=b.base, factor=b.factor, cap=b.cap, jitter=b.jitter)
    task.tenant = body.tenant or ""
    task.key = body.idempotency_key
    task.delay = body.delay or 0.0
    task.run_at = body.run_at
    task.start_timeout = body.start_timeout or 0.0
    task.timeout = body.timeout or 0.0
    task.labels = body.labels
    task.description = body.description
    return task


def _check(body: TaskBody) -> list[FieldError]:
    """What the types can't say."""
    errors = []
    if not body.type.isprintable():
        errors.append(wrong("type", _TASK["type"].right, body.type))
    if body.id is not None and not _is_id(body.id):
        # 14 bytes leave two bits for the last of the 23 characters.
        errors.append(wrong("id", f"{_TASK['id'].right}, of which the last is 0, 8, g or o", body.id))
    try:
        tenant_name(body.tenant or "")
    except ValueError:  # a pattern's end also matches before a line break
        errors.append(wrong("tenant", _TASK["tenant"].right, body.tenant))
    if body.idempotency_key is not None and len(body.idempotency_key.encode()) > MAX_KEY:
        errors.append(wrong("idempotencyKey", _TASK["idempotencyKey"].right, body.idempotency_key))
    if body.run_at is not None:
        if body.delay is not None:
            errors.append(FieldError("runAt", "give delay or runAt, not both"))
        if body.run_at <= _EPOCH or too_far(body.run_at, time.time()):
            errors.append(wrong("runAt", _TASK["runAt"].right, body.run_at.isoformat()))
    if body.backoff is not None and body.backoff.base > body.backoff.cap:
        errors.append(wrong("backoff.base", "at most backoff.cap (3600 unless given)", body.backoff.base))
    for name, value in (body.labels or {}).items():
        if not 1 <= len(name) <= MAX_LABEL_NAME or not name.isprintable() or len(value) > MAX_LABEL_VALUE:
            errors.append(wrong(f"labels.{short(name)}", _TASK["labels"].right, {name: value}, whole="labels"))
    return errors


def _is_id(text: str) -> bool:
    try:
        return id_text(id_bytes(text)) == text
    except ValueError:
        return False


def _explain(value: object, most: int) -> list[FieldError]:
    """Why a JSON value is not a task, field by field; ``most``: so many unknown fields are told one by one."""
    if not isinstance(value, dict):
        return [FieldError("", f"a task must be a JSON object with at least a type, not {shown(value)}")]
    errors = explain_fields(value, _TASK, "", most)
    if isinstance(value.get("backoff"), dict):
        errors = [error for error in errors if error.field != "backoff"]
        errors += explain_fields(value["backoff"], _BACKOFF, "backoff.", most)
    return errors or [FieldError("", "the task is not of the form that the API's description gives")]
