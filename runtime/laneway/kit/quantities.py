"""Durations and sizes as manifests write them: "1h30m", "256Mi".

Durations are what Kubernetes and CEL read (Go's format), in whole units; sizes are Kubernetes quantities,
whole too.
"""

from __future__ import annotations

import re

DURATION_PATTERN = r"^([0-9]{1,9}h)?([0-9]{1,9}m)?([0-9]{1,9}s)?([0-9]{1,9}ms)?$"
SIZE_PATTERN = r"^[0-9]{1,16}(k|M|G|T|Ki|Mi|Gi|Ti)?$"

_DURATION = re.compile(r"(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?(?:(\d{1,9})ms)?", re.ASCII)
_UNITS = ("h", "m", "s", "ms")
_UNITS_MS = (3_600_000, 60_000, 1_000, 1)
_FRACTION = re.compile(r"(\d+\.\d+)(h|m|s|ms)", re.ASCII)
_DAYS = re.compile(r"(\d{1,6})(d|w)", re.ASCII)
_SIZE = re.compile(r"(\d{1,16})(k|M|G|T|Ki|Mi|Gi|Ti)?", re.ASCII)
_FACTORS = {
    None: 1,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
}


def duration_ms(text: str) -> int:
    """Milliseconds of a duration such as "90s", "1h30m" or "250ms".

    Raises:
        ValueError: it is none; the message says what would be right.
    """
    match = _DURATION.fullmatch(text)
    if text and match:
        return sum(int(n) * unit for n, unit in zip(match.groups(), _UNITS_MS, strict=True) if n)
    hint = ""
    if fraction := _FRACTION.fullmatch(text):
        ms = round(float(fraction[1]) * dict(zip(_UNITS, _UNITS_MS, strict=True))[fraction[2]])
        hint = f"; write {duration_text(ms)!r}"
    elif days := _DAYS.fullmatch(text):
        hint = f"; write '{int(days[1]) * (24 if days[2] == 'd' else 168)}h'"
    elif text.isdecimal():
        hint = f"; {text} seconds are '{int(text)}s'"
    raise ValueError(
        f"must be a duration of whole h, m, s and ms, in that order, such as '30s' or '1h30m', not {text[:40]!r}{hint}"
    )


def duration_text(ms: int) -> str:
    """The shortest text of a duration given in milliseconds: 5400000 is "1h30m"."""
    parts, rest = [], ms
    for unit, name in zip(_UNITS_MS, _UNITS, strict=True):
        n, rest = divmod(rest, unit)
        if n:
            parts.append(f"{n}{name}")
    return "".join(parts) or "0s"


def size_bytes(value: int | str) -> int:
    """Bytes of a size such as 4096, "4096", "64Ki" or "1M".

    Raises:
        ValueError: it is none; the message says what would be right.
    """
    if isinstance(value, int):
        return value
    match = _SIZE.fullmatch(value)
    if not match:
        raise ValueError(
            f"must be whole bytes, or a number with k, M, G, Ki, Mi or Gi, such as 65536 or '64Ki', not {value[:40]!r}"
        )
    return int(match[1]) * _FACTORS[match[2]]


def size_text(size: int) -> str:
    """A size in the largest binary unit that keeps it whole: 1048576 is "1Mi"."""
    for name in ("Gi", "Mi", "Ki"):
        if size and size % _FACTORS[name] == 0:
            return f"{size // _FACTORS[name]}{name}"
    return str(size)
