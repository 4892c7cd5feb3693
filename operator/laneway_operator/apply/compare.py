"""Whether a live object already is as desired, as far as the desired one says anything. Pure.

The API server adds defaults, writes quantities in its own way ("1000m" is "1"), and lets others add entries to
lists that have a key. None of these is a difference.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

#: The fields by which entries of a list of objects are told apart, as in the API's own merge keys.
_LIST_KEYS = (("name",), ("uid",), ("mountPath",), ("containerPort", "protocol"), ("port", "protocol"), ("ip",))
_FACTORS = {
    "": Decimal(1), "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"),
    "k": Decimal(10**3), "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12), "P": Decimal(10**15),
    "E": Decimal(10**18), "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40),
    "Pi": Decimal(2**50), "Ei": Decimal(2**60),
}  # fmt: skip
_EMPTY: tuple[Any, ...] = (None, {}, [], "")

_encode = msgspec.json.Encoder(order="sorted").encode


def fingerprint(value: Any) -> str:
    """A short hash of a JSON value; the order of an object's fields does not matter."""
    return hashlib.sha256(_encode(value)).hexdigest()[:16]


def differences(desired: Any, live: Any, path: str = "") -> Iterator[str]:
    """The paths at which ``live`` is not as ``desired`` says."""
    if desired == live:  # most parts are just the same, and this finds it fastest
        return
    if isinstance(desired, dict):
        if not isinstance(live, dict):
            if desired or live not in _EMPTY:
                yield path
            return
        for name, value in desired.items():
            yield from differences(value, live.get(name), f"{path}.{name}")
    elif isinstance(desired, list):
        yield from _list_differences(desired, live, path)
    elif not (desired in _EMPTY and live in _EMPTY) and not _same_quantity(desired, live):
        yield path


def _list_differences(desired: list[Any], live: Any, path: str) -> Iterator[str]:
    if not isinstance(live, list):
        if desired or live not in _EMPTY:
            yield path
        return
    keys = _key_fields(desired)
    if keys is None:
        if len(desired) != len(live):
            yield path
            return
        for at, (wanted, have) in enumerate(zip(desired, live, strict=True)):
            yield from differences(wanted, have, f"{path}[{at}]")
        return
    by_key = {_entry_key(entry, keys): entry for entry in live if isinstance(entry, dict)}
    for entry in desired:
        key = _entry_key(entry, keys)
        where = f"{path}[{'/'.join(map(str, key))}]"
        if key not in by_key:
            yield where
        else:
            yield from differences(entry, by_key[key], where)


def _key_fields(entries: list[Any]) -> tuple[str, ...] | None:
    if not entries or not all(isinstance(entry, dict) for entry in entries):
        return None
    for fields in _LIST_KEYS:
        if all(entry.get(fields[0]) is not None for entry in entries):
            found = {_entry_key(entry, fields) for entry in entries}
            return fields if len(found) == len(entries) else None
    return None


def _entry_key(entry: dict[str, Any], fields: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(entry.get(field, "TCP" if field == "protocol" else None) for field in fields)


def _same_quantity(one: Any, other: Any) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return False
    first, second = _quantity(one), _quantity(other)
    return first is not None and first == second


def _quantity(value: Any) -> Decimal | None:
    if isinstance(value, int):
        return Decimal(value)
    if not isinstance(value, str) or not value or len(value) > 40 or not (value[0].isdigit() or value[0] in "+-."):
        return None
    for length in (2, 1, 0):
        suffix = value[len(value) - length :] if length else ""
        if suffix in _FACTORS:
            try:
                return Decimal(value[: len(value) - length]) * _FACTORS[suffix]
            except InvalidOperation:
                continue
    return None
