"""The envelope: what is said of a task at submission and never changes.

Layout of what a submitter sends (big-endian; Redis puts six bytes of submission time, in ms, before it)::

    schema 1 | flags 1 | lane 1 | priority 1 | max attempts 1 | tenant length 1 | idempotency length 1
    [when 8, a double: delay in ms (flag 2) or ms since 1970 (flag 4)] [start timeout 4, ms (flag 8)]
    tenant | [fingerprint 8 + idempotency key (flag 1)] | body (msgpack array)

Scripts read only the head, so its size is bounded and they never unpack a caller's msgpack.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from typing import Any

import msgspec

SCHEMA = 1
IDEM, DELAY, AT, STARTBY = 1, 2, 4, 8
COMPRESSED = 16
_PLAIN = struct.Struct(">7B")
_STAMP = 6


class Backoff(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """How long to wait before the next attempt: ``base * factor ** (attempt - 1)`` seconds, at most ``cap``.

    ``jitter`` is the share of the delay that is random (0 to 1), taken off: 0.25 gives 75 to 100 %.
    """

    base: float = 2.0
    factor: float = 2.0
    cap: float = 3600.0
    jitter: float = 0.25


class Body(msgspec.Struct, array_like=True):
    """The part of an envelope that only clients and workers read.

    ``payload`` is a msgpack map of the handler's arguments; ``timeout_ms`` bounds one execution (0: unbounded);
    ``trace`` is a W3C traceparent.
    """

    type: str
    payload: bytes
    timeout_ms: int = 0
    backoff: Backoff | None = None
    labels: dict[str, str] | None = None
    description: str | None = None
    trace: str | None = None


_encode = msgspec.msgpack.Encoder().encode
_decode_body = msgspec.msgpack.Decoder(Body).decode


class Envelope(msgspec.Struct):
    """An envelope taken apart. ``submitted_ms`` is Redis time, 0 before submission; ``max_attempts`` 0 says nothing."""

    lane: int
    priority: int
    max_attempts: int
    tenant: str
    body: Body
    submitted_ms: int = 0
    delay_ms: float = 0.0
    at_ms: float = 0.0
    start_timeout_ms: int = 0
    idempotency_key: str | None = None


def fingerprint(task_type: str, payload: bytes) -> bytes:
    """Eight bytes that tell one payload of a type from another. Only type and payload count: the same key
    with another lane, priority or delay is still the same task."""
    return hashlib.blake2b(
        payload, digest_size=8, key=hashlib.blake2b(task_type.encode(), digest_size=32).digest()
    ).digest()


def said_after_payload(body: Body) -> list[Any]:
    """The fields behind the payload, without the last ones that say nothing: most tasks have none, and each would be a
    byte in memory for every waiting task. Readers take what is missing for its default."""
    fields: list[Any] = [body.timeout_ms or None, body.backoff, body.labels, body.description, body.trace]
    while fields and fields[-1] is None:
        fields.pop()
    if fields:
        fields[0] = body.timeout_ms
    return fields


def encode_envelope(env: Envelope, *, compress_over: int = 0) -> bytes:
    """Encodes what is sent at submission. Payloads over ``compress_over`` bytes (0: never) are compressed."""
    body, flags, tail = env.body, 0, b""
    tenant = env.tenant.encode()
    key = b""
    if env.idempotency_key is not None:
        flags |= IDEM
        key = fingerprint(body.type, body.payload) + env.idempotency_key.encode()
    if env.at_ms:
        flags |= AT
        tail = struct.pack(">d", env.at_ms)
    elif env.delay_ms:
        flags |= DELAY
        tail = struct.pack(">d", env.delay_ms)
    if env.start_timeout_ms:
        flags |= STARTBY
        tail += struct.pack(">I", env.start_timeout_ms)
    if compress_over and len(body.payload) > compress_over:
        packed = zlib.compress(body.payload, 1)
        if len(packed) < len(body.payload) * 0.9:
            flags |= COMPRESSED
            body = Body(body.type, packed, body.timeout_ms, body.backoff, body.labels, body.description, body.trace)
    head = _PLAIN.pack(SCHEMA, flags, env.lane, env.priority, env.max_attempts, len(tenant), len(key))
    return b"".join((head, tail, tenant, key, _encode([body.type, body.payload, *said_after_payload(body)])))


def decode_stored(raw: bytes) -> Envelope:
    """Takes apart an envelope as Redis stores it.

    Raises:
        ValueError: it is not an envelope of a known schema.
    """
    try:
        schema, flags, lane, priority, attempts, tenant_len, key_len = _PLAIN.unpack_from(raw, _STAMP)
        if schema != SCHEMA:
            raise ValueError(f"envelope schema {schema} is not known here (this is {SCHEMA})")
        pos = _STAMP + 7
        delay = at = 0.0
        startby = 0
        if flags & 6:
            (when,) = struct.unpack_from(">d", raw, pos)
            delay, at = (0.0, when) if flags & AT else (when, 0.0)
            pos += 8
        if flags & STARTBY:
            (startby,) = struct.unpack_from(">I", raw, pos)
            pos += 4
        tenant = raw[pos : pos + tenant_len].decode() if tenant_len else ""
        pos += tenant_len
        key = raw[pos + 8 : pos + key_len].decode() if flags & IDEM else None
        body = _decode_body(raw[pos + key_len :])
        if flags & COMPRESSED:
            body.payload = zlib.decompress(body.payload)
    except (struct.error, msgspec.MsgspecError, zlib.error, UnicodeDecodeError) as error:
        raise ValueError(f"not an envelope: {error}") from error
    return Envelope(
        lane, priority, attempts, tenant, body, int.from_bytes(raw[:_STAMP], "big"), delay, at, startby, key
    )


def payload_object(payload: bytes) -> Any:
    """A payload as plain Python values, for people to look at."""
    return msgspec.msgpack.decode(payload)
