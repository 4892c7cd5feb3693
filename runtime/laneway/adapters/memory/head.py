"""The head of an envelope, read as the scripts read it: bounded, never raising, the body untouched."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from laneway.model.config import MAX_PRIORITY
from laneway.model.envelope import AT, DELAY, IDEM, SCHEMA, STARTBY

STAMP = 6
_PRINT = 8
_LATEST = 2.0**53


@dataclass(slots=True)
class Head:
    """What scripts know of an envelope. ``when``: delay in ms, or ms since 1970 when ``flags`` has AT."""

    flags: int
    lane: int
    priority: int
    max_attempts: int
    when: float
    start_timeout_ms: int
    tenant: str
    idem_key: bytes | None
    idem_print: bytes
    tail: int  # where the tenant, the key and the body begin
    submitted_ms: int = 0


def read_head(sent: bytes) -> Head | None:
    """The head of an envelope as sent; None when it is not one of a known schema."""
    if len(sent) < 7:
        return None
    schema, flags, lane, priority, most, tenant_len, key_len = sent[:7]
    if not 1 <= schema <= SCHEMA or priority > MAX_PRIORITY:
        return None
    if bool(flags & IDEM) != bool(key_len):
        return None
    timed = flags & (DELAY | AT)
    need = tenant_len + key_len + (8 if timed else 0) + (4 if flags & STARTBY else 0)
    if len(sent) < 7 + need or (flags & IDEM and key_len <= _PRINT):
        return None
    pos, when, startby = 7, 0.0, 0
    if timed:
        (when,) = struct.unpack_from(">d", sent, pos)
        pos += 8
        if not 0 <= when <= _LATEST:
            return None
    if flags & STARTBY:
        (startby,) = struct.unpack_from(">I", sent, pos)
        pos += 4
    tail, tenant = pos, sent[pos : pos + tenant_len]
    if b"\0" in tenant:
        return None
    pos += tenant_len
    key = tenant + b"\0" + sent[pos + _PRINT : pos + key_len] if key_len else None
    return Head(
        flags,
        lane,
        priority,
        most,
        when,
        startby,
        tenant.decode(errors="replace"),
        key,
        sent[pos : pos + _PRINT],
        tail,
    )
