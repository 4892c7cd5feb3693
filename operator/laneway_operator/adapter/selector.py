"""Label selectors, as Kubernetes writes them in queries. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

_KEY: Final = r"[A-Za-z0-9](?:[-A-Za-z0-9_./]*[A-Za-z0-9])?"
_VALUE: Final = r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?)?"
_EQUALS = re.compile(rf"\s*({_KEY})\s*(==|=|!=)\s*({_VALUE})\s*")
_IN = re.compile(rf"\s*({_KEY})\s+(in|notin)\s*\(([^()]*)\)\s*")
_EXISTS = re.compile(rf"\s*(!?)\s*({_KEY})\s*")
_COMMA_OUTSIDE = re.compile(r",(?![^(]*\))")

Selector = Callable[[Mapping[str, str]], bool]


def parse_selector(text: str) -> Selector:
    """What tells whether labels match; "" matches all.

    Raises:
        ValueError: it is no selector; the message says which part is wrong.
    """
    tests = [_requirement(part) for part in _COMMA_OUTSIDE.split(text)] if text.strip() else []
    return lambda labels: all(test(labels) for test in tests)


def _requirement(part: str) -> Selector:
    if match := _EQUALS.fullmatch(part):
        key, sign, value = match.groups()
        if sign == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    if match := _IN.fullmatch(part):
        key, word, listed = match.groups()
        values = frozenset(value.strip() for value in listed.split(","))
        if word == "notin":
            return lambda labels: labels.get(key) not in values
        return lambda labels: labels.get(key) in values
    if match := _EXISTS.fullmatch(part):
        absent, key = match.groups()
        return lambda labels: (key not in labels) is bool(absent)
    raise ValueError(f"labelSelector: {part.strip()[:80]!r} is no requirement such as pool=NAME or pool in (A,B)")
