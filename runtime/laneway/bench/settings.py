"""Settings of a bench (``--set NAME=VALUE``): frozen dataclasses whose fields say their bounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, fields
from typing import Any

from laneway.errors import ConfigError


def setting(default: Any, low: float, high: float, says: str) -> Any:
    """A setting with its default, bounds (both included) and meaning; its type is the default's."""
    return field(default=default, metadata={"low": low, "high": high, "says": says})


def load_settings(bench: str, kind: type[Any], given: Mapping[str, Any]) -> Any:
    """The settings of a bench, an instance of the dataclass ``kind``, from what was given.

    Raises:
        ConfigError: there is no such setting, or its value is not one; the message says what would be right.
    """
    known = {each.name: each for each in fields(kind)}
    checked: dict[str, int | float] = {}
    for name, value in given.items():
        if name not in known:
            raise ConfigError(f"bench {bench} has no setting {name!r}; it takes {', '.join(known)}")
        each = known[name]
        wanted: type[int] | type[float] = int if isinstance(each.default, int) else float
        low, high = each.metadata["low"], each.metadata["high"]
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or (wanted is int and value != int(value)) or not low <= value <= high:
            what = "a whole number" if wanted is int else "a number"
            raise ConfigError(
                f"bench {bench}: {name} is {what} from {low:g} to {high:g} ({each.metadata['says']}), not {value!r}"
            )
        checked[name] = wanted(value)
    return kind(**checked)
